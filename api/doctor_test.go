package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/infra"
	"agentmarket/product"
)

// TestDoctor: an operator asks for an examination, sees what was found, and readyz says
// which tier is refused.
func TestDoctor(t *testing.T) {
	tiers := &product.Tiers{}
	f := newFixture(t, func(s *api.Server) { s.Limits.Tiers = tiers })
	operator, store := f.operator(), f.server.Control
	const path = "/v1/platform/doctor"
	body := f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", operator))
	require.Equal(t, "never", body["status"])
	require.Equal(t, http.StatusForbidden, f.send(http.MethodPost, path, "", "").status)
	body = f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, path, "", operator))
	require.Equal(t, "pending", body["status"])

	now := time.Now().Add(time.Hour)
	taken, err := store.TakeDoctor(t.Context(), "", now, now.Add(time.Minute))
	require.NoError(t, err)
	require.True(t, taken)
	require.NoError(t, store.FinishDoctor(t.Context(), "one", []product.TierReport{{
		Tier: product.TierStandard, Findings: []infra.Finding{{Check: infra.CheckSeccomp, State: infra.Broken, Message: "none"}},
	}}, now.Add(time.Second)))
	body = f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", operator))
	require.Equal(t, "done", body["status"])
	const refused = "this cluster does not keep what the tier promises: seccomp"
	require.Equal(t, []any{map[string]any{
		"tier": "standard", "refused": refused,
		"checks": []any{map[string]any{"check": "seccomp", "state": "broken", "message": "none"}},
	}}, body["tiers"])

	require.NotContains(t, f.requireStatus(http.StatusOK, f.get("/readyz")), "tiers")
	report, err := store.DoctorReport(t.Context())
	require.NoError(t, err)
	tiers.Learn(report)
	ready := f.requireStatus(http.StatusOK, f.get("/readyz"))
	require.Equal(t, map[string]any{"standard": "refused: " + refused}, ready["tiers"])
}
