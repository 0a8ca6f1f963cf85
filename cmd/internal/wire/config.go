package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"go.temporal.io/sdk/client"

	"agentmarket/ids"
	"agentmarket/infra/kube"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
	"agentmarket/secrets"
)

// Config is everything that the processes of the platform need to know. The
// commands read it from their environment; tests and the development stack fill
// it in.
type Config struct {
	// Version is what the API says of itself; empty: what the build recorded.
	Version string

	// DatabaseURL is postgres://… or sqlite:///path, see store.Config.
	DatabaseURL string
	// BlobURL is file:///path or s3://bucket?…, see blobs.Open.
	BlobURL string

	// Temporal says how to reach Temporal: host, namespace, credentials. The
	// logger is filled in.
	Temporal client.Options
	// TemporalWebURL is where people open the Temporal Web UI; empty leaves
	// the link out of API answers.
	TemporalWebURL string

	// Kubeconfig and KubeContext name the cluster; an empty Kubeconfig is the
	// pod's own service account.
	Kubeconfig  string
	KubeContext string
	Kube        kube.Config
	// ManageNamespace lets the worker make and mend the namespace of runs.
	ManageNamespace bool

	// GatewayListen is where the gateway serves pods, HOST:PORT. Kube.GatewayURL is how
	// pods reach that.
	GatewayListen string
	// GatewayPerAddress bounds the connections of the gateway from one address.
	GatewayPerAddress int

	// Secrets says where the keys are that secrets are sealed with.
	Secrets secrets.Config

	// ModelsFile is where the gateway reads which models there are, see
	// models.ReadFile. Empty: there are none.
	ModelsFile string

	// Reconcile is how often record, engine and cluster are held together; nothing
	// that is younger than twice as long is touched. Default: 1 minute.
	Reconcile time.Duration
	// MetricsListen is where a worker shows its numbers to Prometheus, HOST:PORT.
	// Empty: nowhere.
	MetricsListen string

	// Doctor says when the worker examines the cluster: DoctorRequest, DoctorStart or
	// DoctorRequire. Default: DoctorRequest.
	Doctor string

	// Limits bound every plan.
	Limits product.Limits

	// Policy is how the marketplace is configured. The zero Policy is
	// marketplace.DefaultPolicy. The currency must stay what it was when the
	// first price was set.
	Policy marketplace.Policy
	// PreloadedImages are the beginnings of names of images that no registry is
	// asked for, see registry.Config.
	PreloadedImages []string
	// WebhookInsecure lets messages go to plain http and to private addresses, for
	// development and tests: see webhooks.Config.
	WebhookInsecure bool
	// PrivateNetworks are those that neither webhooks nor the names of images nor the hosts
	// of agents may lead to, beside those that are private by themselves: see publicnet.Transport.
	PrivateNetworks []netip.Prefix
	// Egress is how the gateway reaches the hosts that plans grant. No host may lead to
	// PrivateNetworks.
	Egress Egress
	// ToolSecrets is the directory with the credentials of the operators' servers of tools:
	// a file for each, of its name. Empty: there are none.
	ToolSecrets string
	// PaymentInstructions tell buyers how to pay into their wallet, at most 2000
	// characters. Empty: to ask the operator.
	PaymentInstructions string

	// SmokeOrg is the organization under which /schedule-job runs from
	// loopback without a key; empty: it needs a key. SmokeAgent is the agent
	// that it starts, publisher/name.
	SmokeOrg   ids.Org
	SmokeAgent string
}

// The values of Config.Doctor.
const (
	// DoctorRequest: when an operator asks for it.
	DoctorRequest = "request"
	// DoctorStart: also when a worker starts and there is no report of this cluster and
	// configuration. Until there is one, tiers are used.
	DoctorStart = "start"
	// DoctorRequire is DoctorStart, and no tier is used before it was examined.
	DoctorRequire = "require"
)

// Egress is how hosts are reached, see egress.Config.
type Egress struct {
	// Resolver is the DNS server to ask, IP:PORT. Not valid: the system's.
	Resolver netip.AddrPort
	// Networks may be reached although they are private, by every run that is granted
	// any host.
	Networks []netip.Prefix
	// RunBytes bound what the connections of a run carry, both ways. 0: 1 GiB.
	RunBytes int64
}

const (
	maxPriceNotice         = 365 * 24 * time.Hour
	maxPaymentInstructions = 2000 // characters
)

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	c.Kube.ManageNamespaces = c.ManageNamespace
	c.Kube = c.Kube.WithDefaults()
	if c.Doctor == "" {
		c.Doctor = DoctorRequest
	}
	if c.Reconcile == 0 {
		c.Reconcile = time.Minute
	}
	if c.Policy == (marketplace.Policy{}) {
		c.Policy = marketplace.DefaultPolicy()
	}
	return c
}

var runtimeClass = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// Validate reports every mistake at once, before anything starts.
func (c Config) Validate() error {
	var errs []error
	require := func(ok bool, message string) {
		if !ok {
			errs = append(errs, errors.New(message))
		}
	}
	require(c.DatabaseURL != "", "AGENTMARKET_DATABASE_URL is not set (postgres://… or sqlite:///path)")
	require(c.BlobURL != "", "AGENTMARKET_BLOB_URL is not set (file:///path or s3://bucket)")
	require(c.Kube.CreatesPerSecond >= 0, "AGENTMARKET_CREATES_PER_SECOND is negative")
	require(c.Reconcile >= 0, "AGENTMARKET_RECONCILE_SECONDS is negative")
	require(money.ValidCurrency(c.Policy.Currency), "AGENTMARKET_CURRENCY is not three upper-case letters (ISO 4217)")
	require(0 <= c.Policy.FeeBasisPoints && c.Policy.FeeBasisPoints <= 100_00, "AGENTMARKET_PLATFORM_FEE_PERCENT is not between 0 and 100")
	require(c.Secrets.KeeperURL == "" || c.Secrets.File != "", "AGENTMARKET_SECRETS_KEEPER_URL wraps a keyset, and AGENTMARKET_SECRETS_KEYSET_FILE is not set")
	require(0 <= c.Policy.ModelBudget.Micros && c.Policy.ModelBudget.Micros <= money.MaxMicros, "AGENTMARKET_MODEL_BUDGET_MICROS is negative or too large")
	require(0 <= c.Policy.PriceNotice && c.Policy.PriceNotice <= maxPriceNotice, "AGENTMARKET_PRICE_NOTICE_DAYS is not between 0 and 365")
	require(c.Kube.SandboxRuntimeClass == "" || len(c.Kube.SandboxRuntimeClass) <= 253 && runtimeClass.MatchString(c.Kube.SandboxRuntimeClass),
		"AGENTMARKET_SANDBOX_RUNTIME_CLASS is not the name of a RuntimeClass (gvisor, …)")
	require(c.Doctor == "" || c.Doctor == DoctorRequest || c.Doctor == DoctorStart || c.Doctor == DoctorRequire,
		"AGENTMARKET_DOCTOR is none of request, start and require")
	for _, prefix := range c.PreloadedImages {
		require(prefix != "" && !strings.ContainsAny(prefix, " \t@") && !strings.Contains(prefix, "://"),
			fmt.Sprintf("AGENTMARKET_PRELOADED_IMAGES: %q is no beginning of names of images (registry.example/team, …)", prefix))
	}
	for _, network := range c.Egress.Networks {
		first := network.Addr()
		require(!first.IsLoopback() && !first.IsLinkLocalUnicast() && !first.IsMulticast() && !first.IsUnspecified() && network.Bits() >= 8,
			fmt.Sprintf("AGENTMARKET_EGRESS_NETWORKS: %s is too large, or one of this computer or of a link", network))
	}
	require(c.Egress.RunBytes >= 0, "AGENTMARKET_EGRESS_RUN_MIB is negative")
	require(utf8.RuneCountInString(c.PaymentInstructions) <= maxPaymentInstructions,
		"AGENTMARKET_PAYMENT_INSTRUCTIONS has more than 2000 characters")
	return errors.Join(errs...)
}

// LogValue shows the configuration in logs without passwords.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("database_url", masked(c.DatabaseURL)),
		slog.String("blob_url", masked(c.BlobURL)),
		slog.String("temporal_address", c.Temporal.HostPort),
		slog.String("temporal_namespace", c.Temporal.Namespace),
		slog.String("kubeconfig", c.Kubeconfig),
		slog.String("kube_context", c.KubeContext),
		slog.String("runs_namespace", c.Kube.Namespace),
		slog.String("runtime_image", c.Kube.RuntimeImage),
		slog.Bool("runtime_by_copy", c.Kube.RuntimeByCopy),
		slog.String("sandbox_runtime_class", c.Kube.SandboxRuntimeClass),
		slog.String("gateway_url", c.Kube.GatewayURL),
		slog.Bool("manage_namespace", c.ManageNamespace),
		slog.String("doctor", c.Doctor),
		slog.Bool("keep_finished_jobs", c.Kube.KeepFinishedJobs),
		slog.Duration("reconcile", c.Reconcile),
		slog.String("metrics_listen", c.MetricsListen),
		slog.String("currency", c.Policy.Currency),
		slog.Int64("fee_basis_points", c.Policy.FeeBasisPoints),
		slog.String("secrets_keyset_file", c.Secrets.File),
		slog.Bool("secrets_keyset_wrapped", c.Secrets.KeeperURL != ""),
		slog.String("models_file", c.ModelsFile),
		slog.Int64("model_budget_micros", c.Policy.ModelBudget.Micros),
		slog.Duration("price_notice", c.Policy.PriceNotice),
		slog.Bool("listing_review", c.Policy.ReviewListings),
		slog.Any("preloaded_images", c.PreloadedImages),
		slog.Bool("webhook_insecure", c.WebhookInsecure),
		slog.Any("private_networks", c.PrivateNetworks),
		slog.Any("egress_resolver", c.Egress.Resolver),
		slog.Any("egress_networks", c.Egress.Networks),
		slog.Int64("egress_run_bytes", c.Egress.RunBytes),
		slog.String("tool_secrets", c.ToolSecrets),
	)
}

// masked returns a URL without its password and its parameters, either of which
// may be a credential.
func masked(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "[unreadable]"
	}
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return fmt.Sprint(u.Redacted())
}
