package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/api/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/proto"
)

// pins gives a line a pin: its protobuf, its JSON as the state gives it back, and, where it differs, the protobuf
// that is written after reading. "error" stands for what cannot be read.
func pins() []line {
	var lines []line
	for _, p := range variedPins() {
		bytes, err := p.pin.ProtoMarshal()
		must(err)
		lines = append(lines, pinLine(p.name, bytes))
	}
	for _, r := range rawPins() {
		lines = append(lines, pinLine(r.name, r.bytes))
	}
	return lines
}

func pinLine(name string, bytes []byte) line {
	l := line{"name": name, "proto": hex.EncodeToString(bytes)}
	var read api.Pin
	if err := read.ProtoUnmarshal(bytes); err != nil {
		l["error"] = strings.ReplaceAll(err.Error(), "\u00a0", " ")
		return l
	}
	again, err := read.ProtoMarshal()
	must(err)
	if string(again) != string(bytes) {
		l["again"] = hex.EncodeToString(again)
	}
	text, err := json.Marshal(read)
	must(err)
	l["json"] = json.RawMessage(text)
	return l
}

type namedPin struct {
	name string
	pin  api.Pin
}

func variedPins() []namedPin {
	at := time.Unix(1_700_000_000, 0)
	plain := func(seed string) api.Pin {
		p := api.PinCid(rawCid(seed))
		p.Timestamp = at
		return p
	}
	with := func(seed string, change func(*api.Pin)) api.Pin {
		p := plain(seed)
		change(&p)
		return p
	}
	peers := func(n int) []peer.ID {
		var out []peer.ID
		for i := range n {
			out = append(out, peerOf(fmt.Sprint("peer ", i)))
		}
		return out
	}
	meta := func(pairs ...string) map[string]string {
		out := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = pairs[i+1]
		}
		return out
	}
	reference := rawCid("reference")
	direct := api.PinWithOpts(rawCid("direct"), api.PinOptions{Mode: api.PinModeDirect})
	direct.Timestamp = at
	p2p := "/p2p/" + peerOf("origin").String()
	out := []namedPin{
		{"plain", plain("plain")},
		{"no timestamp", with("no timestamp", func(p *api.Pin) { p.Timestamp = time.Time{} })},
		{"timestamp of 1970", with("1970", func(p *api.Pin) { p.Timestamp = time.Unix(0, 0) })},
		{"timestamp with a fraction", with("fraction", func(p *api.Pin) { p.Timestamp = time.Unix(1_700_000_000, 999_999_999) })},
		{"CID version 0", with("v0", func(p *api.Pin) { p.Cid = cidV0("v0") })},
		{"dag-pb, version 1", with("", func(p *api.Pin) { p.Cid = cidV1(cid.DagProtobuf, multihash.SHA2_256, "pb") })},
		{"dag-cbor, BLAKE3", with("", func(p *api.Pin) { p.Cid = cidV1(cid.DagCBOR, multihash.BLAKE3, "cbor") })},
		{"SHA-512", with("", func(p *api.Pin) { p.Cid = cidV1(cid.Raw, multihash.SHA2_512, "sha512") })},
		{"identity", with("", func(p *api.Pin) { p.Cid = cidV1(cid.Raw, multihash.IDENTITY, "hello") })},
		{"direct", direct},
		{"depth 1", with("depth 1", func(p *api.Pin) { p.MaxDepth = 1 })},
		{"depth 1000000", with("depth 1000000", func(p *api.Pin) { p.MaxDepth = 1_000_000 })},
		{"depth -7", with("depth -7", func(p *api.Pin) { p.MaxDepth = -7 })},
		{"lowest depth", with("lowest depth", func(p *api.Pin) { p.MaxDepth = -1 << 31 })},
		{"everywhere", with("everywhere", func(p *api.Pin) { p.ReplicationFactorMin, p.ReplicationFactorMax = -1, -1 })},
		{"factors 2 to 3", with("factors", func(p *api.Pin) { p.ReplicationFactorMin, p.ReplicationFactorMax = 2, 3 })},
		{"extreme factors", with("extreme", func(p *api.Pin) { p.ReplicationFactorMin, p.ReplicationFactorMax = -1<<31, 1<<31-1 })},
		{"one allocation", with("one", func(p *api.Pin) { p.Allocations = peers(1) })},
		{"three allocations", with("three", func(p *api.Pin) { p.Allocations = peers(3) })},
		{"hashed peer id", with("rsa", func(p *api.Pin) { p.Allocations = []peer.ID{rsaPeerOf("rsa"), peerOf("x")} })},
		{"200 allocations", with("200", func(p *api.Pin) { p.Allocations = peers(200) })},
		{"name", with("name", func(p *api.Pin) { p.Name = "holiday pictures" })},
		{"name in many scripts", with("scripts", func(p *api.Pin) { p.Name = "żółw 海亀 🐢 <&>\u2028\"\\\n\x00" })},
		{"long name", with("long name", func(p *api.Pin) { p.Name = strings.Repeat("n", 5000) })},
		{"shard size", with("shard size", func(p *api.Pin) { p.ShardSize = 100 << 20 })},
		{"largest shard size", with("largest", func(p *api.Pin) { p.ShardSize = 1<<64 - 1 })},
		{"user allocations are not kept", with("user", func(p *api.Pin) { p.UserAllocations = peers(2) })},
		{"expires", with("expires", func(p *api.Pin) { p.ExpireAt = time.Unix(1_900_000_000, 0) })},
		{"expires in 1970", with("expired", func(p *api.Pin) { p.ExpireAt = time.Unix(0, 0) })},
		{"expires in 9999", with("9999", func(p *api.Pin) { p.ExpireAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) })},
		{"metadata", with("metadata", func(p *api.Pin) { p.Metadata = meta("owner", "ann", "b", "2", "a", "1", "B", "3") })},
		{"metadata with empty parts", with("empty parts", func(p *api.Pin) { p.Metadata = meta("", "no key", "no value", "") })},
		{"empty metadata", with("empty metadata", func(p *api.Pin) { p.Metadata = meta() })},
		{"metadata in many scripts", with("unicode", func(p *api.Pin) { p.Metadata = meta("ключ", "値", "é", "e\u0301", "z", "last") })},
		{"replaces another", with("update", func(p *api.Pin) { p.PinUpdate = cidV0("before") })},
		{"one origin", with("origin", func(p *api.Pin) { p.Origins = addrs("/ip4/10.0.0.1/tcp/4001" + p2p) })},
		{"origins of many kinds", with("origins", func(p *api.Pin) {
			p.Origins = addrs(
				"/ip6/2001:db8::1/udp/4001/quic-v1"+p2p,
				"/dns4/example.org/tcp/443/tls/ws"+p2p,
				"/dnsaddr/bootstrap.libp2p.io/p2p/"+rsaPeerOf("boot").String(),
				"/dns/example.org/tcp/443/wss"+p2p+"/p2p-circuit/p2p/"+peerOf("relayed").String(),
				"/ip4/1.2.3.4/udp/9090/quic-v1/webtransport/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"+p2p,
				"/ip4/1.2.3.4/udp/9090/webrtc-direct/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"+p2p,
				"/ip4/1.2.3.4/tcp/443/tls/sni/example.org/http"+p2p,
			)
		})},
		{"meta pin", with("meta", func(p *api.Pin) { p.Type = api.MetaType; p.MaxDepth = 0; p.Reference = &reference })},
		{"cluster DAG", with("dag", func(p *api.Pin) { p.Type = api.ClusterDAGType; p.MaxDepth = 0; p.Reference = &reference })},
		{"shard", with("shard", func(p *api.Pin) {
			p.Type, p.MaxDepth, p.Reference, p.Allocations = api.ShardType, 1, &reference, peers(2)
		})},
	}
	everything := plain("everything")
	everything.PinOptions = api.PinOptions{
		ReplicationFactorMin: 2, ReplicationFactorMax: 4, Name: "everything", ShardSize: 7,
		ExpireAt: time.Unix(1_800_000_000, 0), Metadata: meta("k", "v", "j", "w"), PinUpdate: rawCid("old"),
		Origins: addrs("/ip4/127.0.0.1/tcp/1" + p2p),
	}
	everything.Allocations = peers(4)
	everything.Reference = &reference
	return append(out, namedPin{"everything", everything})
}

type rawPin struct {
	name  string
	bytes []byte
}

// rawPins gives what older or broken programs may have written.
func rawPins() []rawPin {
	marshal := func(p *pb.Pin) []byte {
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
		must(err)
		return bytes
	}
	content := rawCid("raw").Bytes()
	base := func(options *pb.PinOptions) *pb.Pin {
		return &pb.Pin{Cid: content, Type: pb.Pin_DataType, MaxDepth: -1, Options: options, Timestamp: 1_600_000_000}
	}
	sound := marshal(base(&pb.PinOptions{Name: "x"}))
	return []rawPin{
		{"no options", marshal(base(nil))},
		{"old metadata", marshal(base(&pb.PinOptions{Metadata: map[string]string{"b": "2", "a": "1", "": ""}}))},
		{"old and new metadata", marshal(base(&pb.PinOptions{
			Metadata:       map[string]string{"a": "old", "b": "2"},
			SortedMetadata: []*pb.Metadata{{Key: "z", Value: "9"}, {Key: "a", Value: "new"}},
		}))},
		{"a key twice", marshal(base(&pb.PinOptions{SortedMetadata: []*pb.Metadata{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}}}))},
		{"options in two parts", append(append([]byte{}, sound...), marshal(&pb.Pin{Options: &pb.PinOptions{ShardSize: 5}})...)},
		{"scalars twice", append(append([]byte{}, sound...), marshal(&pb.Pin{MaxDepth: 3, Timestamp: 9})...)},
		{"field of another wire type", append(append([]byte{}, sound...), 0x0d, 1, 2, 3, 4)},
		{"cut short", sound[:len(sound)-2]},
		{"name is not UTF-8", append(append([]byte{}, sound...), 0x32, 0x03, 0x1a, 0x01, 0xff)},
		{"allocation is not a peer", marshal(&pb.Pin{Cid: content, Type: pb.Pin_DataType, Allocations: [][]byte{{1, 2, 3}}})},
		{"origin is not an address", marshal(base(&pb.PinOptions{Origins: [][]byte{{0xff, 0xff}}}))},
		{"origin is empty", marshal(base(&pb.PinOptions{Origins: [][]byte{{}}}))},
		{"field number zero", append(append([]byte{}, sound...), 0x00, 0x00)},
		{"a group that does not end", append(append([]byte{}, sound...), 0x7b, 0x08)},
		{"endless varint", append(append([]byte{}, sound...), 0x38, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)},
	}
}
