package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/infra"
	"agentmarket/infra/kube"
)

// TestDoctor: what the platform promises holds in the development cluster, and what does
// not hold is found: here that an address which no pod may reach is open to all.
func TestDoctor(t *testing.T) {
	long(t)
	beside(t)
	s := Start(t)
	s.untilNamespace(t)
	cfg := kube.Config{
		Namespace: s.Namespace, RuntimeImage: s.Images["agent-runtime"], GatewayURL: "http://" + s.gatewayAddress,
	}.WithDefaults()
	client, err := kube.Connect(s.Kubeconfig, "", cfg)
	require.NoError(t, err)
	doctor := kube.NewDoctor(client, kube.NewCluster(client, cfg), cfg, "")
	first, err := doctor.Fingerprint(t.Context())
	require.NoError(t, err)
	again, err := doctor.Fingerprint(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, again)

	healthy, err := doctor.Examine(t.Context(), false)
	require.NoError(t, err)
	t.Logf("%+v", healthy)
	require.Len(t, healthy.Findings, 11)
	for _, f := range healthy.Findings {
		require.Equal(t, infra.Holds, f.State, "%+v", f)
	}

	doctor.Attack = []agentruntime.ProbeTarget{{Name: "secret", Network: "tcp", Address: s.gatewayAddress}}
	open, err := doctor.Examine(t.Context(), false)
	require.NoError(t, err)
	var broken []string
	for _, f := range open.Broken() {
		broken = append(broken, f.Check)
	}
	require.Equal(t, []string{infra.CheckNetwork, infra.CheckFirstPacket}, broken)

	// The same by a worker, when an operator asks for it.
	require.NoError(t, s.db.Product().RequestDoctor(t.Context(), audit.System("test"), time.Now()))
	require.Eventually(t, func() bool {
		report, err := s.db.Product().DoctorReport(t.Context())
		return err == nil && !report.Pending() && len(report.Tiers) == 1 && len(report.Tiers[0].Broken()) == 0
	}, 4*time.Minute, time.Second, "the worker examines the cluster")
	require.Eventually(t, func() bool {
		var ready struct {
			Tiers map[string]string `json:"tiers"`
		}
		return s.get(t, "/readyz", &ready) == http.StatusOK && ready.Tiers["standard"] == "ok"
	}, time.Minute, time.Second, "the API has learned of it")
}
