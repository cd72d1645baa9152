//go:build tools

// Package tools names the commands that tests/peers/install.sh builds, so that go.mod and go.sum pin them.
package tools

import (
	_ "github.com/bluesky-social/indigo/cmd/relay"
	_ "github.com/bluesky-social/indigo/cmd/tap"
)
