package kube

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"agentmarket/infra"
)

// TestPlaces: an attempt is in a namespace that is watched and ours, the same for every
// process that is configured alike.
func TestPlaces(t *testing.T) {
	ref := infra.Ref{Run: "run_01jd3m0f9zq4x8v5c7n2b6k1ta", Attempt: 2, Org: "org_01JD3M0F9ZQ4X8V5C7N2B6K1TB"}
	apart := ref
	apart.Sandboxed = true
	const org = "agentmarket-runs-01jd3m0f9zq4x8v5c7n2b6k1tb"
	for name, tt := range map[string]struct {
		cfg             Config
		standard, apart string
		watched         int
	}{
		"per tier":         {Config{SandboxRuntimeClass: "gvisor"}, "agentmarket-runs", "agentmarket-runs-sandboxed", 2},
		"one tier":         {Config{}, "agentmarket-runs", "agentmarket-runs-sandboxed", 1},
		"shards":           {Config{NamespaceShards: 4, SandboxRuntimeClass: "gvisor"}, "agentmarket-runs-2", "agentmarket-runs-sandboxed-2", 8},
		"per organization": {Config{NamespacePer: PerOrganization}, org, org + "-sandboxed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tt.cfg.WithDefaults()
			require.Equal(t, tt.standard, cfg.NamespaceOf(ref))
			require.Equal(t, tt.apart, cfg.NamespaceOf(apart))
			require.Len(t, cfg.Watched(), tt.watched)
			require.True(t, cfg.ours(tt.standard))
			if cfg.NamespacePer == PerTier {
				require.Contains(t, cfg.Watched(), tt.standard)
			} else {
				require.Equal(t, []string{metav1.NamespaceAll}, cfg.Watched())
			}
			another := ref
			another.Attempt = 3
			require.Equal(t, tt.standard, cfg.NamespaceOf(another), "all attempts of a run are together")
		})
	}
	require.False(t, Config{}.WithDefaults().ours("agentmarket-runsx"))
}

// TestNamespacesOfOrganizations: each is made before the first Job in it, and mended
// with the others.
func TestNamespacesOfOrganizations(t *testing.T) {
	client := fake.NewClientset()
	cfg := Config{NamespacePer: PerOrganization, ManageNamespaces: true, RuntimeImage: "x" + digest}.WithDefaults()
	require.NoError(t, EnsureNamespace(t.Context(), client, cfg))
	s := sandbox()
	require.NoError(t, NewCluster(client, cfg).Create(t.Context(), s))
	name := cfg.NamespaceOf(s.Ref)
	require.True(t, strings.HasPrefix(name, "agentmarket-runs-01jd"))
	_, err := client.BatchV1().Jobs(name).Get(t.Context(), s.Name(), metav1.GetOptions{})
	require.NoError(t, err)
	policies := client.NetworkingV1().NetworkPolicies(name)
	require.NoError(t, policies.Delete(t.Context(), "default-deny", metav1.DeleteOptions{}))
	require.NoError(t, EnsureNamespace(t.Context(), client, cfg))
	_, err = policies.Get(t.Context(), "default-deny", metav1.GetOptions{})
	require.NoError(t, err)
}
