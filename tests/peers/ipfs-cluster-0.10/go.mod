module peers/ipfs-cluster-0.10

go 1.21

require (
	github.com/ipfs/go-cid v0.0.1
	github.com/ipfs/ipfs-cluster v0.10.1
	github.com/libp2p/go-libp2p-peer v0.0.1
	github.com/multiformats/go-multihash v0.0.1
)

require (
	github.com/btcsuite/btcd v0.0.0-20190213025234-306aecffea32 // indirect
	github.com/gogo/protobuf v1.2.1 // indirect
	github.com/golang/protobuf v1.3.0 // indirect
	github.com/gorilla/websocket v1.4.0 // indirect
	github.com/gxed/hashland/keccakpg v0.0.1 // indirect
	github.com/gxed/hashland/murmur3 v0.0.1 // indirect
	github.com/ipfs/go-log v0.0.1 // indirect
	github.com/jbenet/go-temp-err-catcher v0.0.0-20150120210811-aac704a3f4f2 // indirect
	github.com/jbenet/goprocess v0.0.0-20160826012719-b497e2f366b8 // indirect
	github.com/libp2p/go-conn-security v0.0.1 // indirect
	github.com/libp2p/go-libp2p-crypto v0.0.1 // indirect
	github.com/libp2p/go-libp2p-interface-pnet v0.0.1 // indirect
	github.com/libp2p/go-libp2p-net v0.0.1 // indirect
	github.com/libp2p/go-libp2p-peerstore v0.0.1 // indirect
	github.com/libp2p/go-libp2p-protocol v0.0.1 // indirect
	github.com/libp2p/go-libp2p-transport v0.0.4 // indirect
	github.com/libp2p/go-libp2p-transport-upgrader v0.0.1 // indirect
	github.com/libp2p/go-maddr-filter v0.0.1 // indirect
	github.com/libp2p/go-stream-muxer v0.0.1 // indirect
	github.com/libp2p/go-ws-transport v0.0.1 // indirect
	github.com/mattn/go-colorable v0.1.1 // indirect
	github.com/mattn/go-isatty v0.0.6 // indirect
	github.com/minio/blake2b-simd v0.0.0-20160723061019-3f5f724cb5b1 // indirect
	github.com/minio/sha256-simd v0.0.0-20190131020904-2d45a736cd16 // indirect
	github.com/mr-tron/base58 v1.1.0 // indirect
	github.com/multiformats/go-base32 v0.0.3 // indirect
	github.com/multiformats/go-multiaddr v0.0.2 // indirect
	github.com/multiformats/go-multiaddr-dns v0.0.2 // indirect
	github.com/multiformats/go-multiaddr-net v0.0.1 // indirect
	github.com/multiformats/go-multibase v0.0.1 // indirect
	github.com/opentracing/opentracing-go v1.0.2 // indirect
	github.com/whyrusleeping/go-logging v0.0.0-20170515211332-0457bb6b88fc // indirect
	github.com/whyrusleeping/mafmt v1.2.8 // indirect
	golang.org/x/crypto v0.0.0-20190228161510-8dd112bcdc25 // indirect
	golang.org/x/net v0.0.0-20190301231341-16b79f2e4e95 // indirect
	golang.org/x/sys v0.0.0-20190308023053-584f3b12f43e // indirect
)
