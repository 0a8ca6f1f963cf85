package freeport_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/internal/freeport"
)

func TestFoundPortsDifferAndAreFree(t *testing.T) {
	ports, err := freeport.Find(50)
	require.NoError(t, err)
	slices.Sort(ports)
	require.Len(t, slices.Compact(ports), 50)
	_, err = freeport.Find(1_000_000)
	require.Error(t, err)
}
