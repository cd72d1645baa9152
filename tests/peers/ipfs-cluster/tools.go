//go:build tools

// Package tools names the commands that tests/peers/install.sh builds, so that go.mod and go.sum pin them.
package tools

import (
	_ "github.com/ipfs-cluster/ipfs-cluster/cmd/ipfs-cluster-ctl"
	_ "github.com/ipfs-cluster/ipfs-cluster/cmd/ipfs-cluster-service"
)
