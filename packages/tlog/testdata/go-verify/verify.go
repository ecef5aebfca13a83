package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	checkpoints "github.com/transparency-dev/formats/log"
	cosignatures "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tiles reads a folder laid out as c2sp.org/tlog-tiles; sumdb's own paths name the tile height, those do not.
type tiles struct{ dir string }

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func verify(dir string) (string, error) {
	tree, err := openCheckpoint(dir, read(dir, "checkpoint"))
	if err != nil {
		return "", err
	}
	hashes := tlog.TileHashReader(tree, tiles{dir})
	entries, err := readEntries(dir, tree.N)
	if err != nil {
		return "", err
	}
	for i, entry := range entries {
		p, err := tlog.ProveRecord(tree.N, int64(i), hashes)
		if err != nil {
			return "", fmt.Errorf("prove %d: %w", i, err)
		}
		if err := tlog.CheckRecord(p, tree.N, tree.Hash, int64(i), tlog.RecordHash(entry)); err != nil {
			return "", fmt.Errorf("inclusion of %d: %w", i, err)
		}
	}
	for n := int64(1); n <= tree.N; n++ {
		old, err := tlog.TreeHash(n, hashes)
		if err != nil {
			return "", err
		}
		p, err := tlog.ProveTree(tree.N, n, hashes)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckTree(p, tree.N, tree.Hash, n, old); err != nil {
			return "", fmt.Errorf("consistency of %d: %w", n, err)
		}
	}
	return fmt.Sprintf("inclusion=%d consistency=%d", len(entries), tree.N), verifyProofFile(dir)
}

func verifyProofFile(dir string) error {
	var p proof.TLogProof
	if err := p.Unmarshal(read(dir, "proof.tlog-proof")); err != nil {
		return err
	}
	tree, err := openCheckpoint(dir, p.Checkpoint)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, h := range p.Hashes {
		path = append(path, tlog.Hash(h))
	}
	leaf := tlog.RecordHash(read(dir, "proof.entry"))
	return tlog.CheckRecord(path, tree.N, tree.Hash, int64(p.Index), leaf)
}

func openCheckpoint(dir string, signed []byte) (tlog.Tree, error) {
	logKey, err := note.NewVerifier(string(read(dir, "vkey")))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("log key: %w", err)
	}
	keys := []note.Verifier{logKey}
	if vkey, err := os.ReadFile(filepath.Join(dir, "witness-vkey")); err == nil {
		witness, err := cosignatures.NewVerifierForCosignatureV1(string(vkey))
		if err != nil {
			return tlog.Tree{}, fmt.Errorf("witness key: %w", err)
		}
		keys = append(keys, witness)
	}
	opened, err := note.Open(signed, note.VerifierList(keys...))
	if err != nil {
		return tlog.Tree{}, err
	}
	if len(opened.Sigs) != len(keys) || len(opened.UnverifiedSigs) != 0 {
		return tlog.Tree{}, fmt.Errorf("%d verified and %d other signatures", len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	var head checkpoints.Checkpoint
	if rest, err := head.Unmarshal([]byte(opened.Text)); err != nil || len(rest) != 0 {
		return tlog.Tree{}, fmt.Errorf("checkpoint text: %v, %d bytes left", err, len(rest))
	}
	if head.Origin != logKey.Name() {
		return tlog.Tree{}, fmt.Errorf("origin %q", head.Origin)
	}
	return tlog.Tree{N: int64(head.Size), Hash: tlog.Hash(head.Hash)}, nil
}

func readEntries(dir string, size int64) ([][]byte, error) {
	var entries [][]byte
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: 8, L: -1, N: first / 256, W: int(min(256, size-first))}
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			entries = append(entries, bundle[2:2+length])
			bundle = bundle[2+length:]
		}
	}
	if int64(len(entries)) != size {
		return nil, fmt.Errorf("%d entries in bundles for a tree of %d", len(entries), size)
	}
	return entries, nil
}

func read(dir, name string) []byte {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		panic(err)
	}
	return data
}
