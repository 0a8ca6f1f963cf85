package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"go.temporal.io/sdk/client"

	"agentmarket/ids"
	"agentmarket/infra/kube"
	"agentmarket/product"
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

	// Limits bound every plan.
	Limits product.Limits
	// CreatesPerSecond bounds what all workers together do to the cluster; 0
	// means no bound.
	CreatesPerSecond float64

	// SmokeOrg is the organization under which /schedule-job runs from
	// loopback without a key; empty: it needs a key. SmokeAgent is the agent
	// that it starts, publisher/name.
	SmokeOrg   ids.Org
	SmokeAgent string
}

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
	require(c.CreatesPerSecond >= 0, "AGENTMARKET_CREATES_PER_SECOND is negative")
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
		slog.Bool("manage_namespace", c.ManageNamespace),
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
