package product

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/infra"
)

func found(tier Tier, state infra.State) TierReport {
	return TierReport{Tier: tier, Findings: []infra.Finding{{Check: infra.CheckProbe, State: state}, {Check: infra.CheckSeccomp, State: state, Message: "m"}}}
}

// TestRefusal: a tier is refused for what is broken, and where it is asked for also for
// what nobody knows.
func TestRefusal(t *testing.T) {
	var none *Tiers
	require.Empty(t, none.Refusal(TierStandard))
	require.Empty(t, none.Detail())
	for _, strict := range []bool{false, true} {
		tiers := &Tiers{Strict: strict}
		require.Equal(t, strict, tiers.Refusal(TierStandard) != "", "nothing is known yet")
		tiers.Learn(DoctorReport{Tiers: []TierReport{found(TierStandard, infra.Holds), found(TierSandboxed, infra.Unknown)}})
		require.Empty(t, tiers.Refusal(TierStandard))
		require.Equal(t, strict, tiers.Refusal(TierSandboxed) != "")
		require.Equal(t, "ok", tiers.Detail()[TierStandard])
		require.NotEqual(t, "ok", tiers.Detail()[TierSandboxed])
		tiers.Learn(DoctorReport{Tiers: []TierReport{found(TierStandard, infra.Broken)}})
		require.Equal(t, "this cluster does not keep what the tier promises: probe, seccomp", tiers.Refusal(TierStandard))
		require.Contains(t, tiers.Detail()[TierStandard], "refused: ")
	}
}

// TestCarry: an examination that found out nothing does not make a broken tier whole.
func TestCarry(t *testing.T) {
	before := DoctorReport{Tiers: []TierReport{found(TierStandard, infra.Broken), found(TierSandboxed, infra.Broken)}}
	after := before.Carry([]TierReport{
		{Tier: TierStandard, Findings: []infra.Finding{{Check: infra.CheckProbe, State: infra.Unknown}}},
		found(TierSandboxed, infra.Holds),
	})
	require.Equal(t, []string{infra.CheckSeccomp}, after[0].Broken())
	require.Empty(t, after[1].Broken())
}

func TestPending(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	require.False(t, DoctorReport{}.Pending())
	require.True(t, DoctorReport{RequestedAt: at(1)}.Pending())
	require.True(t, DoctorReport{RequestedAt: at(1), TakenAt: at(2)}.Pending())
	require.False(t, DoctorReport{RequestedAt: at(1), TakenAt: at(2), FinishedAt: at(3)}.Pending())
	require.True(t, DoctorReport{RequestedAt: at(4), TakenAt: at(2), FinishedAt: at(3)}.Pending())
}

// TestRefusedTier: no run of a tier is planned that the cluster does not keep.
func TestRefusedTier(t *testing.T) {
	q := aQuestion()
	q.Limits.Tiers = &Tiers{}
	q.Limits.Tiers.Learn(DoctorReport{Tiers: []TierReport{found(TierStandard, infra.Broken), found(TierSandboxed, infra.Holds)}})
	_, err := Resolve(q)
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	require.Equal(t, string(ReasonPlanInvalid), fault.From(err).Code)
	require.ErrorContains(t, err, "the standard tier is refused: this cluster does not keep what the tier promises: probe, seccomp")

	q.Limits.Sandboxed, q.Policies = true, policies(Policy{}, Policy{}, Policy{}, Policy{Tier: TierSandboxed})
	_, err = Resolve(q)
	require.NoError(t, err)
}

func TestKeeps(t *testing.T) {
	var none *Tiers
	require.False(t, none.Keeps(TierStandard, infra.CheckUsers))
	tiers := &Tiers{}
	require.False(t, tiers.Keeps(TierStandard, infra.CheckUsers))
	for state, want := range map[infra.State]bool{infra.Holds: true, infra.Broken: false, infra.Unknown: false} {
		tiers.Learn(DoctorReport{Tiers: []TierReport{found(TierStandard, infra.Holds), {Tier: TierStandard, Findings: []infra.Finding{{Check: infra.CheckUsers, State: state}}}}})
		require.Equal(t, want, tiers.Keeps(TierStandard, infra.CheckUsers), state)
		require.False(t, tiers.Keeps(TierSandboxed, infra.CheckUsers))
		require.True(t, tiers.Keeps(TierStandard, infra.CheckSeccomp))
	}
}
