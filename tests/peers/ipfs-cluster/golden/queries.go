package main

import (
	"encoding/json"
	"net/url"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// queries gives query strings with the options that they mean and the query that those make, or the error.
func queries() []line {
	one, two := peerOf("one").String(), rsaPeerOf("two").String()
	key := peerOf("one")
	origin := "/ip4/10.0.0.1/tcp/4001/p2p/" + one
	old := rawCid("old").String()
	var lines []line
	for _, text := range []string{
		"",
		"name=a+b%26c",
		"name=first&name=second",
		"replication=3",
		"replication-min=2&replication-max=5",
		"replication=-1&replication-min=2&replication-max=5",
		"replication-min=%2B7",
		"replication-min=x",
		"replication-max=1.5",
		"replication=99999999999999999999",
		"replication=0",
		"mode=direct",
		"mode=recursive",
		"mode=DIRECT",
		"shard-size=1048576",
		"shard-size=-1",
		"shard-size=18446744073709551615",
		"shard-size=%2B1",
		"user-allocations=" + one + "," + two,
		"user-allocations=" + one + ",nonsense,,%20" + two,
		"user-allocations=" + peerCid(key),
		"expire-at=2030-01-02T03:04:05Z",
		"expire-at=2030-01-02T03:04:05.678%2B02:00",
		"expire-at=2030-01-02T03:04:05-11:30",
		"expire-at=0001-01-01T00:00:00Z",
		"expire-at=2030-02-30T03:04:05Z",
		"expire-at=2030-01-02",
		"expire-at=2030-01-02T24:00:00Z",
		"expire-at=2030-01-02T03:04:05,5Z",
		"expire-at=2030-01-02t03:04:05z",
		"expire-at=2030-01-02T3:04:05Z",
		"expire-at=2030-01-02T03:04:05%2B24:00",
		"expire-at=2028-02-29T23:59:59Z&expire-in=nonsense",
		"expire-in=x",
		"expire-in=10",
		"expire-in=500ms",
		"expire-in=-1h",
		"meta-a=1&meta-b=2&meta-=nothing&Meta-c=3&meta-meta-d=4",
		"meta-a=first&meta-a=second",
		"meta-%C3%A9=%E5%80%A4",
		"pin-update=" + old,
		"pin-update=nonsense",
		"origins=" + url.QueryEscape(origin),
		"origins=" + url.QueryEscape(origin+",/dns4/example.org/tcp/1/p2p/"+two),
		"origins=" + url.QueryEscape("/ip4/10.0.0.1/tcp/4001"),
		"origins=nonsense",
		"origins=" + url.QueryEscape("/ipfs/"+two),
		"name=n&mode=direct&replication-min=1&replication-max=2&shard-size=3&user-allocations=" + two +
			"&expire-at=2030-01-02T03:04:05Z&meta-k=v&pin-update=" + old + "&origins=" + url.QueryEscape(origin),
	} {
		l := line{"query": text}
		values, err := url.ParseQuery(text)
		must(err)
		var options api.PinOptions
		if err := options.FromQuery(values); err != nil {
			l["error"] = err.Error()
		} else {
			// Stored pins end on a whole second, in universal time.
			if !options.ExpireAt.IsZero() {
				options.ExpireAt = options.ExpireAt.UTC().Truncate(1e9)
			}
			l["again"], err = options.ToQuery()
			must(err)
			json, err := json.Marshal(options)
			must(err)
			l["options"] = rawJSON(json)
		}
		lines = append(lines, l)
	}
	return lines
}
