package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPKIIsKept(t *testing.T) {
	l := Layout{State: t.TempDir()}
	require.NoError(t, os.Mkdir(l.PKI(""), 0o700))
	c := exampleSettings().Cluster
	now := time.Now()
	require.NoError(t, ensurePKI(l, c, now))
	read := func(name string) string {
		raw, err := os.ReadFile(l.PKI(name))
		require.NoError(t, err)
		return string(raw)
	}
	ca, server, admin := read("ca.crt"), read("apiserver.crt"), read("admin.crt")

	require.NoError(t, ensurePKI(l, c, now))
	require.Equal(t, server, read("apiserver.crt"), "nothing changed")

	c.NodeIP = "10.91.0.1"
	require.NoError(t, ensurePKI(l, c, now))
	require.NotEqual(t, server, read("apiserver.crt"), "another address needs another certificate")
	require.Equal(t, admin, read("admin.crt"))

	require.NoError(t, ensurePKI(l, c, now.Add(leafValidity-leafRenewal)))
	require.NotEqual(t, admin, read("admin.crt"), "made anew before it expires")
	require.Equal(t, ca, read("ca.crt"), "the CA stays, and with it old kubeconfigs")

	_, _, err := readPair(l, "absent")
	require.ErrorIs(t, err, os.ErrNotExist)
}
