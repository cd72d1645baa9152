// Command golden writes what `state export` of IPFS-Cluster 0.10 makes of some pins, by the api package of that very
// version, for the tests of crates/pins to read; and the protobuf of the same pins to compare with:
//
//	cd tests/peers/ipfs-cluster-0.10 && go run . ../../../crates/pins/tests/golden
//
// The output is the same on every run.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p-peer"
	"github.com/multiformats/go-multihash"
)

func main() {
	var export bytes.Buffer
	var protos []byte
	// As exportState of cmd/ipfs-cluster-service has it.
	enc := json.NewEncoder(&export)
	enc.SetIndent("", "    ")
	must(enc.Encode(pins()))
	for _, pin := range pins() {
		proto, err := pin.ProtoMarshal()
		must(err)
		protos = append(protos, hex.EncodeToString(proto)+"\n"...)
	}
	must(os.WriteFile(filepath.Join(os.Args[1], "export-0.10.json"), export.Bytes(), 0o644))
	must(os.WriteFile(filepath.Join(os.Args[1], "export-0.10.proto"), protos, 0o644))
}

func pins() []*api.Pin {
	plain := api.PinWithOpts(cidOf("plain", 0), api.PinOptions{ReplicationFactorMin: -1, ReplicationFactorMax: -1})
	full := api.PinWithOpts(cidOf("full", 1), api.PinOptions{
		ReplicationFactorMin: 1, ReplicationFactorMax: 3, Name: "a \"name\" <ü>", ShardSize: 5,
		Metadata: map[string]string{"k": "{\"v\""},
	})
	full.Allocations = []peer.ID{peerOf("one"), peerOf("two")}
	direct := api.PinWithOpts(cidOf("direct", 1), api.PinOptions{ReplicationFactorMin: 1, ReplicationFactorMax: 1})
	direct.MaxDepth = 0
	return append([]*api.Pin{plain, full, direct}, divided()...)
}

// divided gives the pins of a DAG in two shards.
func divided() []*api.Pin {
	meta, dag, shard := cidOf("meta", 1), cidOf("dag", 1), cidOf("shard", 1)
	options := api.PinOptions{ReplicationFactorMin: 1, ReplicationFactorMax: 1, Name: "divided"}
	pin := func(c cid.Cid, kind api.PinType, depth int, reference *cid.Cid) *api.Pin {
		pin := api.PinWithOpts(c, options)
		pin.Type, pin.MaxDepth, pin.Reference = kind, depth, reference
		return pin
	}
	return []*api.Pin{
		pin(meta, api.MetaType, 0, &dag),
		pin(dag, api.ClusterDAGType, 0, &meta),
		pin(shard, api.ShardType, 1, nil),
		pin(cidOf("shard two", 1), api.ShardType, 1, &shard),
	}
}

func cidOf(content string, version int) cid.Cid {
	mh, err := multihash.Sum([]byte(content), multihash.SHA2_256, -1)
	must(err)
	if version == 0 {
		return cid.NewCidV0(mh)
	}
	return cid.NewCidV1(cid.Raw, mh)
}

func peerOf(seed string) peer.ID {
	key := sha256.Sum256([]byte(seed))
	mh, err := multihash.Encode(append([]byte{0x08, 0x01, 0x12, 32}, key[:]...), multihash.ID)
	must(err)
	return peer.ID(mh)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
