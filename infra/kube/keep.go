package kube

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"
)

// keepEvery is how long a namespace may be without what somebody took from it.
const keepEvery = 5 * time.Minute

// KeepNamespaces mends the namespaces of runs again and again, until the context ends.
// A cluster that does not answer is asked again in the next round.
func KeepNamespaces(ctx context.Context, client kubernetes.Interface, cfg Config, log *slog.Logger) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := EnsureNamespace(ctx, client, cfg); err != nil {
			log.Warn("the namespaces of runs are not mended", "error", err)
		}
	}
}
