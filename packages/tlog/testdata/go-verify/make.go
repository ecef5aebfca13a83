package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	checkpoints "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	origin  = "go.example/log"
	entries = 300
	proven  = 271
)

func makeLog(dir string) (string, error) {
	secret, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return "", err
	}
	var stored []tlog.Hash
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, i := range indexes {
			found = append(found, stored[i])
		}
		return found, nil
	})
	for i := range entries {
		more, err := tlog.StoredHashes(int64(i), entry(i), hashes)
		if err != nil {
			return "", err
		}
		stored = append(stored, more...)
	}
	signed, err := sign(secret, hashes)
	if err != nil {
		return "", err
	}
	path, err := tlog.ProveRecord(entries, proven, hashes)
	if err != nil {
		return "", err
	}
	p := proof.TLogProof{Index: proven, Checkpoint: signed, ExtraData: []byte("extra")}
	for _, h := range path {
		p.Hashes = append(p.Hashes, h)
	}
	files := map[string][]byte{
		"vkey": []byte(vkey), "checkpoint": signed, "proof.tlog-proof": p.Marshal(), "proof.entry": entry(proven),
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("entries=%d", entries), nil
}

func sign(secret string, hashes tlog.HashReader) ([]byte, error) {
	root, err := tlog.TreeHash(entries, hashes)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	head := checkpoints.Checkpoint{Origin: origin, Size: entries, Hash: root[:]}
	return note.Sign(&note.Note{Text: string(head.Marshal())}, signer)
}

func entry(i int) []byte { return fmt.Appendf(nil, "entry %d", i) }
