//go:build tools

// Package tools names the command that tests/peers/install.sh builds, so that go.mod and go.sum pin it.
package tools

import _ "github.com/letsencrypt/pebble/v2/cmd/pebble"
