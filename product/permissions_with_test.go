package product_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/product"
)

func TestPermissionsWith(t *testing.T) {
	a := product.Permissions{Tools: []string{"x", "y"}, Egress: []string{"b.example.com"}, CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64, RunSeconds: 300}
	b := product.Permissions{Tools: []string{"w", "y"}, Secrets: []string{"TOKEN"}, CPUMillis: 1000, MemoryMiB: 64, DiskMiB: 64, RunSeconds: 600}
	want := product.Permissions{
		Tools: []string{"w", "x", "y"}, Secrets: []string{"TOKEN"}, Egress: []string{"b.example.com"},
		CPUMillis: 1000, MemoryMiB: 128, DiskMiB: 64, RunSeconds: 600,
	}
	require.Empty(t, cmp.Diff(want, a.With(b)))
	require.Empty(t, cmp.Diff(want, b.With(a)))
	require.True(t, want.Covers(a) && want.Covers(b))
	require.Empty(t, cmp.Diff(a, a.With(product.Permissions{})))
	require.Equal(t, []string{"x", "y"}, a.Tools, "neither is changed")
}
