// Command go-verify checks a log written by this package with tools that this project did not write:
// golang.org/x/mod/sumdb (notes, tiles, tree proofs) and github.com/transparency-dev/formats (cosignatures, proofs).
//
//	go-verify verify DIR   DIR holds vkey, checkpoint, tile/…, proof.tlog-proof, proof.entry, and
//	                       witness-vkey where the checkpoint is cosigned
//	go-verify make DIR     writes vkey, checkpoint, proof.tlog-proof and proof.entry for the other direction
//
// It prints one line of counts, or fails with the first thing that does not hold.
package main

import (
	"fmt"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go-verify verify|make DIR")
	}
	commands := map[string]func(dir string) (string, error){"verify": verify, "make": makeLog}
	command, ok := commands[os.Args[1]]
	if !ok {
		log.Fatal("usage: go-verify verify|make DIR")
	}
	report, err := command(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report)
}
