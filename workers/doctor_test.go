package workers

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/infra"
	"agentmarket/product"
)

// ward is a cluster and a store for one doctor.
type ward struct {
	product.DoctorStore
	fails        error
	asked        bool
	fingerprints []string // that TakeDoctor was asked with
	report       product.DoctorReport
}

func (w *ward) Fingerprint(context.Context) (string, error) { return "one", w.fails }
func (w *ward) Tiers() []bool                               { return []bool{false, true} }

func (w *ward) Examine(_ context.Context, sandboxed bool) (infra.Examination, error) {
	if sandboxed {
		return infra.Examination{}, errors.New("no RuntimeClass")
	}
	return infra.Examination{Findings: []infra.Finding{
		{Check: infra.CheckProbe, State: infra.Holds}, {Check: infra.CheckSeccomp, State: infra.Broken, Message: "none"},
	}}, nil
}

func (w *ward) DoctorReport(context.Context) (product.DoctorReport, error) { return w.report, nil }

func (w *ward) RequestDoctor(context.Context, audit.Actor, time.Time) error { return nil }

func (w *ward) TakeDoctor(_ context.Context, fingerprint string, _, _ time.Time) (bool, error) {
	w.fingerprints = append(w.fingerprints, fingerprint)
	return w.asked, nil
}

func (w *ward) FinishDoctor(_ context.Context, fingerprint string, tiers []product.TierReport, at time.Time) error {
	w.report = product.DoctorReport{Fingerprint: fingerprint, Tiers: tiers, FinishedAt: at}
	return nil
}

// TestDoctor: it looks at the fingerprint once, examines each tier, says what is broken,
// and a tier of which nothing was found out is not taken for kept.
func TestDoctor(t *testing.T) {
	w := &ward{fails: errors.New("away")}
	values := map[string]float64{}
	d := &Doctor{
		Cluster: w, Store: w, AtStart: true, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Found: func(check string, tier product.Tier, value float64) { values[check+" "+string(tier)] = value },
	}
	d.once(t.Context())
	require.Empty(t, w.fingerprints, "a cluster that is away is asked again")
	w.fails = nil
	d.once(t.Context())
	d.once(t.Context())
	require.Equal(t, []string{"one", ""}, w.fingerprints)
	require.Zero(t, w.report)

	w.asked = true
	d.once(t.Context())
	require.Equal(t, map[string]float64{"probe standard": 1, "seccomp standard": 0, "probe sandboxed": -1}, values)
	require.Equal(t, "one", w.report.Fingerprint)
	require.Equal(t, []string{infra.CheckSeccomp}, w.report.Tiers[0].Broken())
	require.Equal(t, infra.Unknown, w.report.Tiers[1].Findings[0].State)
	require.Equal(t, "no RuntimeClass", w.report.Tiers[1].Findings[0].Message)
}
