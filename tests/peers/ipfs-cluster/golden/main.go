// Command golden writes what the api package of IPFS-Cluster itself makes of many values, for the tests of
// crates/pins to compare with:
//
//	cd tests/peers/ipfs-cluster && go run ./golden ../../../crates/pins/tests/golden
//
// Every file has one JSON object a line. The output is the same on every run.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: golden DIR")
		os.Exit(2)
	}
	time.Local = time.UTC
	dir := os.Args[1]
	write(dir, "pins.jsonl", pins())
	write(dir, "infos.jsonl", infos())
	write(dir, "queries.jsonl", queries())
	write(dir, "filters.jsonl", filters())
}

type line map[string]any

func write(dir, name string, lines []line) {
	file, err := os.Create(filepath.Join(dir, name))
	must(err)
	out := bufio.NewWriter(file)
	encoder := json.NewEncoder(out)
	for _, l := range lines {
		must(encoder.Encode(l))
	}
	must(out.Flush())
	must(file.Close())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// peerOf gives the peer id of an Ed25519 key; its 32 bytes need not be one for this purpose.
func peerOf(seed string) peer.ID {
	key := sha256.Sum256([]byte(seed))
	digest := append([]byte{0x08, 0x01, 0x12, 32}, key[:]...)
	mh, err := multihash.Encode(digest, multihash.IDENTITY)
	must(err)
	return peer.ID(mh)
}

// rsaPeerOf gives a peer id of the hashed kind, Qm….
func rsaPeerOf(seed string) peer.ID {
	mh, err := multihash.Sum([]byte(seed), multihash.SHA2_256, -1)
	must(err)
	return peer.ID(mh)
}

func cidV0(seed string) api.Cid {
	mh, err := multihash.Sum([]byte(seed), multihash.SHA2_256, -1)
	must(err)
	return api.NewCid(cid.NewCidV0(mh))
}

func cidV1(codec, hash uint64, seed string) api.Cid {
	mh, err := multihash.Sum([]byte(seed), hash, -1)
	must(err)
	return api.NewCid(cid.NewCidV1(codec, mh))
}

func rawCid(seed string) api.Cid { return cidV1(cid.Raw, multihash.SHA2_256, seed) }

func addrs(texts ...string) []api.Multiaddr {
	var out []api.Multiaddr
	for _, text := range texts {
		ma, err := api.NewMultiaddr(text)
		must(err)
		out = append(out, ma)
	}
	return out
}

func rawJSON(text []byte) json.RawMessage { return json.RawMessage(text) }

// peerCid writes a peer id as a CID, the newer form.
func peerCid(id peer.ID) string { return peer.ToCid(id).String() }
