package wire

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

func aConfig() Config {
	return Config{DatabaseURL: "sqlite:///store.db", BlobURL: "file:///blobs", Policy: marketplace.DefaultPolicy()}
}

func TestConfigDefaults(t *testing.T) {
	cfg := aConfig()
	cfg.Policy = marketplace.Policy{}
	cfg = cfg.withDefaults()
	require.Empty(t, cmp.Diff(marketplace.DefaultPolicy(), cfg.Policy))
	require.NoError(t, cfg.Validate())

	cfg.Policy = marketplace.Policy{Currency: "EUR"} // no fee, no notice and no review are choices
	require.Empty(t, cmp.Diff(marketplace.Policy{Currency: "EUR"}, cfg.withDefaults().Policy))
	require.NoError(t, cfg.Validate())
}

func TestConfigValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"AGENTMARKET_DATABASE_URL":       func(c *Config) { c.DatabaseURL = "" },
		"AGENTMARKET_BLOB_URL":           func(c *Config) { c.BlobURL = "" },
		"AGENTMARKET_CREATES_PER_SECOND": func(c *Config) { c.Kube.CreatesPerSecond = -1 },
		"AGENTMARKET_CURRENCY":           func(c *Config) { c.Policy.Currency = "usd" },

		"AGENTMARKET_PLATFORM_FEE_PERCENT is": func(c *Config) { c.Policy.FeeBasisPoints = 10_001 },
		"AGENTMARKET_PLATFORM_FEE_PERCENT":    func(c *Config) { c.Policy.FeeBasisPoints = -1 },
		"AGENTMARKET_PRICE_NOTICE_DAYS is":    func(c *Config) { c.Policy.PriceNotice = 366 * 24 * time.Hour },
		"AGENTMARKET_PRICE_NOTICE_DAYS":       func(c *Config) { c.Policy.PriceNotice = -time.Hour },
		"AGENTMARKET_PRELOADED_IMAGES":        func(c *Config) { c.PreloadedImages = []string{"https://registry.example"} },
		`AGENTMARKET_PRELOADED_IMAGES: ""`:    func(c *Config) { c.PreloadedImages = []string{"registry.example", ""} },
		"AGENTMARKET_SANDBOX_RUNTIME_CLASS":   func(c *Config) { c.Kube.SandboxRuntimeClass = "gVisor" },
		"AGENTMARKET_EGRESS_RUN_MIB":          func(c *Config) { c.Egress.RunBytes = -1 },
		"NETWORKS: 127.0.0.0/8":               func(c *Config) { c.Egress.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
		"NETWORKS: 169.254.169.254/32":        func(c *Config) { c.Egress.Networks = []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32")} },
		"NETWORKS: ::/0":                      func(c *Config) { c.Egress.Networks = []netip.Prefix{netip.MustParsePrefix("::/0")} },
		"NETWORKS: 160.0.0.0/4":               func(c *Config) { c.Egress.Networks = []netip.Prefix{netip.MustParsePrefix("160.0.0.0/4")} },
		"AGENTMARKET_PAYMENT_INSTRUCTIONS":    func(c *Config) { c.PaymentInstructions = strings.Repeat("ß", 2001) },
	} {
		cfg := aConfig()
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), name)
	}
	cfg := aConfig()
	cfg.PreloadedImages = []string{"agents.local/", "registry.example:5000/team"}
	cfg.PaymentInstructions = strings.Repeat("ß", 2000)
	cfg.Kube.SandboxRuntimeClass = "kata.example-2"
	cfg.Egress.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:1::/64")}
	require.NoError(t, cfg.Validate())

	err := Config{}.Validate()
	for _, name := range []string{"AGENTMARKET_DATABASE_URL", "AGENTMARKET_BLOB_URL", "AGENTMARKET_CURRENCY"} {
		require.ErrorContains(t, err, name, "all at once")
	}
}
