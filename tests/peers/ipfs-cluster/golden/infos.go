package main

import (
	"encoding/json"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

// infos gives values of the interface types with their JSON.
func infos() []line {
	var lines []line
	add := func(kind string, value any) {
		text, err := json.Marshal(value)
		must(err)
		lines = append(lines, line{"type": kind, "json": json.RawMessage(text)})
	}
	at := time.Unix(1_700_000_000, 0)
	fine := time.Unix(1_700_000_000, 123_456_000)
	one, two := peerOf("one"), rsaPeerOf("two")
	home := addrs("/ip4/127.0.0.1/tcp/9096/p2p/"+one.String(), "/ip6/::1/tcp/9096/p2p/"+one.String())

	short := api.PinInfoShort{
		PeerName: "alpha", IPFS: two, IPFSAddresses: home, Status: api.TrackerStatusPinned, TS: fine,
		Error: "", AttemptCount: 3, PriorityPin: true,
	}
	failed := api.PinInfoShort{PeerName: "beta", Status: api.TrackerStatusPinError, TS: at, Error: "context \"deadline\" <exceeded>"}
	info := api.PinInfo{
		Cid: rawCid("info"), Name: "n", Peer: one, Allocations: []peer.ID{one, two}, Origins: home, Created: at,
		Metadata: map[string]string{"a": "1"}, PinInfoShort: short,
	}
	bare := api.PinInfo{Cid: cidV0("bare"), Peer: one, PinInfoShort: failed}
	add("PinInfoShort", short)
	add("PinInfoShort", failed)
	add("PinInfoShort", api.PinInfoShort{})
	add("PinInfo", info)
	add("PinInfo", bare)
	add("GlobalPinInfo", info.ToGlobal())
	both := info.ToGlobal()
	other := bare
	other.Peer, other.Status = two, api.TrackerStatusClusterError
	both.Add(other)
	add("GlobalPinInfo", both)
	add("GlobalPinInfo", bare.ToGlobal())
	add("GlobalPinInfo", api.GlobalPinInfo{Cid: rawCid("nobody"), Allocations: []peer.ID{}, Origins: []api.Multiaddr{}, Metadata: map[string]string{}})

	add("ID", api.ID{
		ID: one, Addresses: home, ClusterPeers: []peer.ID{one, two}, ClusterPeersAddresses: home, Version: "1.1.6",
		Commit: "abc", RPCProtocolVersion: "/ipfscluster/1.0/rpc", Peername: "alpha",
		IPFS: api.IPFSID{ID: two, Addresses: home},
	})
	add("ID", api.ID{ID: two, Error: "dial backoff"})
	add("ID", api.ID{ID: two, Addresses: []api.Multiaddr{}, IPFS: api.IPFSID{Error: "no daemon", Addresses: []api.Multiaddr{}}})
	add("Version", api.Version{Version: "1.1.6"})
	add("Error", api.Error{Code: 404, Message: "not found"})
	add("AddedOutput", api.AddedOutput{Name: "a.txt", Cid: rawCid("a"), Bytes: 3, Size: 11, Allocations: []peer.ID{one}})
	add("AddedOutput", api.AddedOutput{Name: "dir", Cid: cidV0("dir")})
	add("Metric", api.Metric{Name: "freespace", Peer: one, Value: "123", Expire: at.UnixNano(), Valid: true, Weight: -5, Partitionable: true, ReceivedAt: fine.UnixNano()})
	add("Metric", api.Metric{Name: "ping", Peer: two})
	add("Alert", api.Alert{Metric: api.Metric{Name: "ping", Peer: two, Expire: 5}, TriggeredAt: fine})
	add("IPFSRepoStat", api.IPFSRepoStat{RepoSize: 1 << 40, StorageMax: 1<<64 - 1})
	add("GlobalRepoGC", api.GlobalRepoGC{PeerMap: map[string]api.RepoGC{
		one.String(): {Peer: one, Peername: "alpha", Keys: []api.IPFSRepoGC{{Key: rawCid("gone")}, {Error: "busy"}}},
		two.String(): {Peer: two, Error: "unreachable"},
	}})
	add("GlobalRepoGC", api.GlobalRepoGC{})
	add("ConnectGraph", api.ConnectGraph{
		ClusterID: one, IDtoPeername: map[string]string{one.String(): "alpha"},
		IPFSLinks:         map[string][]peer.ID{two.String(): {one}},
		ClusterLinks:      map[string][]peer.ID{one.String(): {two}},
		ClusterTrustLinks: map[string]bool{two.String(): true},
		ClustertoIPFS:     map[string]peer.ID{one.String(): two},
	})
	add("ConnectGraph", api.ConnectGraph{ClusterID: one})
	add("BandwidthByProtocol", api.BandwidthByProtocol{"/ipfscluster/1.0/rpc": {TotalIn: 1, TotalOut: 2, RateIn: 0.5, RateOut: 1.25}})
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(1, 100), time.Unix(253402300799, 999999999), time.Unix(951782400, 120_000_000)} {
		add("Alert", api.Alert{Metric: api.Metric{Name: "time", Peer: one}, TriggeredAt: at})
	}
	return lines
}

// filters gives status filters as clients write them, with what they mean.
func filters() []line {
	var lines []line
	for _, text := range []string{
		"", "undefined", "cluster_error", "pin_error", "unpin_error", "error", "unpinned", "pinned", "pinning",
		"unpinning", "remote", "pin_queued", "unpin_queued", "queued", "sharded", "unexpectedly_unpinned",
		"pinned,pinning", "queued,error", "pin_error, unpin_error", " pinned ", "nonsense", "pinned,nonsense", "Pinned",
	} {
		status := api.TrackerStatusFromString(text)
		l := line{"filter": text, "bits": int(status)}
		// With several bits that have no common name the order of the names is that of a map.
		if known := api.TrackerStatusFromString(status.String()); known == status {
			matches := []string{}
			for _, one := range []api.TrackerStatus{
				api.TrackerStatusUndefined, api.TrackerStatusClusterError, api.TrackerStatusPinError,
				api.TrackerStatusUnpinError, api.TrackerStatusPinned, api.TrackerStatusPinning,
				api.TrackerStatusUnpinning, api.TrackerStatusUnpinned, api.TrackerStatusRemote,
				api.TrackerStatusPinQueued, api.TrackerStatusUnpinQueued, api.TrackerStatusSharded,
				api.TrackerStatusUnexpectedlyUnpinned,
			} {
				if one.Match(status) {
					matches = append(matches, one.String())
				}
			}
			l["matches"] = matches
		}
		lines = append(lines, l)
	}
	return lines
}
