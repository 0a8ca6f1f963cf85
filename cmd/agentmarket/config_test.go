package main

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/cmd/internal/wire"

	"agentmarket/marketplace"
)

// withEnvironment replaces the environment of the test.
func withEnvironment(t *testing.T, values map[string]string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AGENTMARKET_") || strings.HasPrefix(name, "TEMPORAL_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range values {
		t.Setenv(name, value)
	}
}

func TestConfigOfTheMarketplace(t *testing.T) {
	withEnvironment(t, nil)
	cfg, _, err := configFromEnvironment()
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(marketplace.DefaultPolicy(), cfg.Policy))
	require.Empty(t, cfg.PreloadedImages)

	withEnvironment(t, map[string]string{
		"AGENTMARKET_CURRENCY":             "EUR",
		"AGENTMARKET_PLATFORM_FEE_PERCENT": "12.5",
		"AGENTMARKET_PRICE_NOTICE_DAYS":    "30",
		"AGENTMARKET_LISTING_REVIEW":       "false",
		"AGENTMARKET_PRELOADED_IMAGES":     "agents.local, registry.example/team/,",
		"AGENTMARKET_PAYMENT_INSTRUCTIONS": "Pay into account 42.",
		"AGENTMARKET_PRIVATE_NETWORKS":     "34.118.224.0/20, 2001:db8:1::/48",
		"AGENTMARKET_EGRESS_NETWORKS":      "10.1.0.0/16",
		"AGENTMARKET_EGRESS_RESOLVER":      "10.0.0.1:53",
		"AGENTMARKET_EGRESS_RUN_MIB":       "2",
	})
	cfg, _, err = configFromEnvironment()
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(marketplace.Policy{Currency: "EUR", FeeBasisPoints: 1250, PriceNotice: 30 * 24 * time.Hour}, cfg.Policy))
	require.Equal(t, []string{"agents.local", "registry.example/team/"}, cfg.PreloadedImages)
	require.Equal(t, "Pay into account 42.", cfg.PaymentInstructions)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("34.118.224.0/20"), netip.MustParsePrefix("2001:db8:1::/48")}, cfg.PrivateNetworks)
	require.Equal(t, wire.Egress{
		Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, Resolver: netip.MustParseAddrPort("10.0.0.1:53"), RunBytes: 2 << 20,
	}, cfg.Egress)

	withEnvironment(t, map[string]string{"AGENTMARKET_PRIVATE_NETWORKS": "10.0.0.1"})
	_, _, err = configFromEnvironment()
	require.ErrorContains(t, err, "AGENTMARKET_PRIVATE_NETWORKS")
	withEnvironment(t, map[string]string{
		"AGENTMARKET_EGRESS_NETWORKS": "::ffff:10.0.0.0/104", "AGENTMARKET_EGRESS_RESOLVER": "10.0.0.1", "AGENTMARKET_EGRESS_RUN_MIB": "0",
	})
	_, _, err = configFromEnvironment()
	for _, name := range []string{"AGENTMARKET_EGRESS_NETWORKS", "AGENTMARKET_EGRESS_RESOLVER", "AGENTMARKET_EGRESS_RUN_MIB"} {
		require.ErrorContains(t, err, name)
	}
}

// TestConfigOfTheSandboxedTier: what a policy may ask for is what the cluster has.
func TestConfigOfTheSandboxedTier(t *testing.T) {
	withEnvironment(t, nil)
	cfg, _, err := configFromEnvironment()
	require.NoError(t, err)
	require.False(t, cfg.Limits.Sandboxed)
	require.Empty(t, cfg.Kube.SandboxRuntimeClass)

	withEnvironment(t, map[string]string{"AGENTMARKET_SANDBOX_RUNTIME_CLASS": "gvisor"})
	cfg, _, err = configFromEnvironment()
	require.NoError(t, err)
	require.True(t, cfg.Limits.Sandboxed)
	require.Equal(t, "gvisor", cfg.Kube.SandboxRuntimeClass)
}

func TestConfigReportsEverythingAtOnce(t *testing.T) {
	wrong := map[string]string{
		"AGENTMARKET_PLATFORM_FEE_PERCENT": "a fifth",
		"AGENTMARKET_PRICE_NOTICE_DAYS":    "NaN",
		"AGENTMARKET_LISTING_REVIEW":       "perhaps",
		"AGENTMARKET_MANAGE_NAMESPACE":     "2",
		"AGENTMARKET_JOB_TTL_SECONDS":      "-1",
	}
	withEnvironment(t, wrong)
	_, _, err := configFromEnvironment()
	require.Error(t, err)
	for name := range wrong {
		require.ErrorContains(t, err, name)
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "20": 2000, "020": 2000, "2.5": 250, "2.50": 250, "0.01": 1, "19.99": 1999, "100": 10000, "100.00": 10000,
	} {
		t.Setenv("AGENTMARKET_PERCENT", text)
		var env environment
		require.Equal(t, want, env.percent("AGENTMARKET_PERCENT", "50"), text)
		require.Empty(t, env.errs, text)
	}
	for _, text := range []string{"-1", "2,5", "2.505", "2.", ".5", "1e1", "1000", " 20", "20%", "NaN"} {
		t.Setenv("AGENTMARKET_PERCENT", text)
		var env environment
		env.percent("AGENTMARKET_PERCENT", "50")
		require.Len(t, env.errs, 1, text)
	}
	t.Setenv("AGENTMARKET_PERCENT", "")
	var env environment
	require.Equal(t, int64(5000), env.percent("AGENTMARKET_PERCENT", "50"))
}

// TestEveryVariableIsDocumented holds the help and the page for operators to the
// code.
func TestEveryVariableIsDocumented(t *testing.T) {
	source, err := os.ReadFile("config.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	names := regexp.MustCompile(`"(AGENTMARKET_[A-Z_]+)"`).FindAllSubmatch(source, -1)
	require.Greater(t, len(names), 15)
	for _, name := range names {
		require.Contains(t, usage, "  "+string(name[1])+" ")
		require.Contains(t, string(page), "| `"+string(name[1])+"` |")
	}
}
