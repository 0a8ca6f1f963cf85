package workers

import (
	"context"
	"log/slog"
	"time"

	"agentmarket/infra"
	"agentmarket/product"
)

// Doctor examines the cluster when it is asked to, and, AtStart, when there is no report
// of this cluster and configuration. Any number of workers may look; one examines.
type Doctor struct {
	Cluster infra.Doctor
	Store   product.DoctorStore
	AtStart bool
	// Found is told what holds of a tier: 1 a check that does, 0 one that does not, -1 one
	// of which nobody could tell.
	Found func(check string, tier product.Tier, value float64)
	Log   *slog.Logger
	Now   func() time.Time
	// Interval is the pause between two looks. Default: 5 seconds.
	Interval time.Duration
}

const (
	doctorInterval = 5 * time.Second
	// doctorLease is more than the examination of all tiers takes.
	doctorLease = 15 * time.Minute
)

// Run looks until the context ends.
func (d *Doctor) Run(ctx context.Context) error {
	return repeat(ctx, d.Interval, doctorInterval, d.once)
}

func (d *Doctor) once(ctx context.Context) {
	fingerprint := ""
	if d.AtStart {
		var err error
		if fingerprint, err = d.Cluster.Fingerprint(ctx); err != nil {
			return // the cluster is away, or its namespaces are not made yet
		}
	}
	now := d.Now()
	taken, err := d.Store.TakeDoctor(ctx, fingerprint, now, now.Add(doctorLease))
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Warn("the doctor cannot ask for its turn", "error", err)
		}
		return
	}
	d.AtStart = false // another version may be at work beside this one
	if !taken {
		return
	}
	if err := d.examine(ctx); err != nil && ctx.Err() == nil {
		d.Log.Error("the examination of the cluster is not stored", "error", err)
	}
}

func (d *Doctor) examine(ctx context.Context) error {
	d.Log.Info("the cluster is being examined")
	fingerprint, err := d.Cluster.Fingerprint(ctx)
	if err != nil {
		return err
	}
	var tiers []product.TierReport
	for _, sandboxed := range d.Cluster.Tiers() {
		tier := product.TierStandard
		if sandboxed {
			tier = product.TierSandboxed
		}
		found, err := d.Cluster.Examine(ctx, sandboxed)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && len(found.Findings) == 0 {
			found.Findings = []infra.Finding{{Check: infra.CheckProbe, State: infra.Unknown, Message: err.Error()}}
		}
		tiers = append(tiers, product.TierReport{Tier: tier, Findings: found.Findings})
	}
	before, err := d.Store.DoctorReport(ctx)
	if err != nil {
		return err
	}
	tiers = before.Carry(tiers)
	d.tell(tiers)
	return d.Store.FinishDoctor(ctx, fingerprint, tiers, d.Now())
}

// tell says loudly what does not hold.
func (d *Doctor) tell(tiers []product.TierReport) {
	for _, t := range tiers {
		for _, f := range t.Findings {
			value := 1.0
			switch f.State {
			case infra.Holds:
			case infra.Broken:
				value = 0
				d.Log.Error("the cluster does not keep what a tier promises: the tier is refused",
					"tier", t.Tier, "check", f.Check, "detail", f.Message)
			case infra.Unknown:
				value = -1
				d.Log.Warn("a check of the cluster came to nothing", "tier", t.Tier, "check", f.Check, "detail", f.Message)
			}
			if d.Found != nil {
				d.Found(f.Check, t.Tier, value)
			}
		}
	}
}

// Learning keeps what a process knows of the tiers fresh.
type Learning struct {
	Store product.DoctorStore
	Tiers *product.Tiers
	Log   *slog.Logger
}

// Run reads the report again and again until the context ends. Without an answer, what
// was known stays.
func (l *Learning) Run(ctx context.Context) error {
	return repeat(ctx, 0, doctorInterval, func(ctx context.Context) {
		report, err := l.Store.DoctorReport(ctx)
		if err != nil {
			if ctx.Err() == nil {
				l.Log.Warn("the report of the doctor cannot be read", "error", err)
			}
			return
		}
		l.Tiers.Learn(report)
	})
}
