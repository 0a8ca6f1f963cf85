package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/infra"
	"agentmarket/product"
)

var doctorTests = []testCase{
	{"a_request_is_taken_once", doctorIsTakenOnce},
	{"another_fingerprint_asks_for_one", doctorComesForAnotherCluster},
	{"what_nobody_finished_is_taken_again", doctorIsTakenAgain},
}

func take(t *testing.T, s Stores, fingerprint string, at time.Time) bool {
	t.Helper()
	taken, err := s.Control.TakeDoctor(t.Context(), fingerprint, at, at.Add(time.Minute))
	require.NoError(t, err)
	return taken
}

func doctorIsTakenOnce(t *testing.T, s Stores) {
	none, err := s.Control.DoctorReport(t.Context())
	require.NoError(t, err)
	require.Zero(t, none)
	require.False(t, take(t, s, "", start), "nobody has asked")
	require.NoError(t, s.Control.RequestDoctor(t.Context(), actor, start))
	asked, err := s.Control.DoctorReport(t.Context())
	require.NoError(t, err)
	require.True(t, asked.Pending())
	require.Equal(t, actor.ID, asked.RequestedBy)

	now := start.Add(time.Second)
	require.True(t, take(t, s, "", now))
	require.False(t, take(t, s, "", now.Add(time.Second)))
	found := []product.TierReport{{Tier: product.TierStandard, Findings: []infra.Finding{{Check: infra.CheckSeccomp, State: infra.Broken, Message: "none"}}}}
	require.NoError(t, s.Control.FinishDoctor(t.Context(), "one", found, now.Add(2*time.Second)))
	report, err := s.Control.DoctorReport(t.Context())
	require.NoError(t, err)
	require.Equal(t, found, report.Tiers)
	require.False(t, report.Pending())
	require.False(t, take(t, s, "", now.Add(time.Hour)))
	require.NoError(t, s.Control.RequestDoctor(t.Context(), actor, now.Add(time.Hour)))
	require.True(t, take(t, s, "", now.Add(2*time.Hour)))
}

func doctorComesForAnotherCluster(t *testing.T, s Stores) {
	require.True(t, take(t, s, "one", start), "the first time")
	require.NoError(t, s.Control.FinishDoctor(t.Context(), "one", nil, start.Add(time.Second)))
	require.False(t, take(t, s, "one", start.Add(time.Hour)))
	require.True(t, take(t, s, "two", start.Add(time.Hour)))
}

func doctorIsTakenAgain(t *testing.T, s Stores) {
	require.True(t, take(t, s, "one", start))
	require.False(t, take(t, s, "one", start.Add(time.Second)), "the lease goes on")
	require.True(t, take(t, s, "", start.Add(2*time.Minute)))
}

// fillDoctor is Fill for the doctor.
func fillDoctor(t *testing.T, s Stores) {
	t.Helper()
	require.NoError(t, s.Control.RequestDoctor(t.Context(), actor, start))
	take(t, s, "one", start)
	require.NoError(t, s.Control.FinishDoctor(t.Context(), "one", nil, start))
	_, err := s.Control.DoctorReport(t.Context())
	require.NoError(t, err)
}
