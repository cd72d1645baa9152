// Command golden writes what `state export` of IPFS-Cluster 0.14 makes of some pins, by the api package of that very
// version, for the tests of crates/pins to read; and the protobuf of the same pins to compare with:
//
//	cd tests/peers/ipfs-cluster-0.14 && go run . ../../../crates/pins/tests/golden
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
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p-core/peer"
	"github.com/multiformats/go-multihash"
)

func main() {
	time.Local = time.UTC
	var export bytes.Buffer
	var protos []byte
	// As cmdutils.exportState has it.
	enc := json.NewEncoder(&export)
	for _, pin := range pins() {
		must(enc.Encode(pin))
		proto, err := pin.ProtoMarshal()
		must(err)
		protos = append(protos, hex.EncodeToString(proto)+"\n"...)
	}
	must(os.WriteFile(filepath.Join(os.Args[1], "export-0.14.json"), export.Bytes(), 0o644))
	must(os.WriteFile(filepath.Join(os.Args[1], "export-0.14.proto"), protos, 0o644))
}

func pins() []*api.Pin {
	plain := api.PinWithOpts(cidOf("plain", 0), api.PinOptions{ReplicationFactorMin: -1, ReplicationFactorMax: -1})
	full := api.PinWithOpts(cidOf("full", 1), api.PinOptions{
		ReplicationFactorMin: 1, ReplicationFactorMax: 3, Name: "a \"name\" <ü>", ShardSize: 5,
		ExpireAt: time.Unix(4_000_000_000, 0), Metadata: map[string]string{"k": "{\"v\""},
		PinUpdate: cidOf("before", 1),
		Origins:   []api.Multiaddr{addr("/ip4/127.0.0.1/tcp/4001/p2p/" + peerOf("origin").String())},
	})
	full.Allocations = []peer.ID{peerOf("one"), peerOf("two")}
	direct := api.PinWithOpts(cidOf("direct", 1), api.PinOptions{Mode: api.PinModeDirect, ReplicationFactorMin: 1, ReplicationFactorMax: 1})
	direct.MaxDepth = 0
	all := append([]*api.Pin{plain, full, direct}, divided()...)
	for _, pin := range all {
		pin.Timestamp = time.Unix(1_600_000_000, 5_000_000)
	}
	return all
}

// divided gives the pins of a DAG in two shards.
func divided() []*api.Pin {
	meta, dag, shard := cidOf("meta", 1), cidOf("dag", 1), cidOf("shard", 1)
	options := api.PinOptions{ReplicationFactorMin: 1, ReplicationFactorMax: 1, Name: "divided"}
	pin := func(c cid.Cid, kind api.PinType, depth int, reference *cid.Cid) *api.Pin {
		pin := api.PinWithOpts(c, options)
		pin.Type, pin.MaxDepth, pin.Reference = kind, api.PinDepth(depth), reference
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
	mh, err := multihash.Encode(append([]byte{0x08, 0x01, 0x12, 32}, key[:]...), multihash.IDENTITY)
	must(err)
	return peer.ID(mh)
}

func addr(text string) api.Multiaddr {
	a, err := api.NewMultiaddr(text)
	must(err)
	return a
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
