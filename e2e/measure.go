package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"agentmarket/marketplace"
)

// What follows is for package bench, which looks at a platform from all sides.

// Clients are the stack with so many keys of its organization: each key has a rate
// limit of its own.
func (s *Stack) Clients(t testing.TB, n int) []*Stack {
	t.Helper()
	clients := make([]*Stack, n)
	for i := range clients {
		clients[i] = s.as(s.key(t, s.org, marketplace.RoleOwner, marketplace.AllScopes()))
	}
	return clients
}

// DatabaseURL is the platform's database.
func (s *Stack) DatabaseURL() string { return s.databaseURL }

// TemporalClient is a client of the platform's Temporal.
func (s *Stack) TemporalClient() client.Client { return s.temporal }

// UntilNamespace waits until the worker has made the namespace of runs.
func (s *Stack) UntilNamespace(t testing.TB) {
	t.Helper()
	s.untilNamespace(t)
}

// KubeConfig is how the cluster is reached.
func (s *Stack) KubeConfig(t testing.TB) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	require.NoError(t, err)
	return config
}
