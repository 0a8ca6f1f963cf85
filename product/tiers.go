package product

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"agentmarket/audit"
	"agentmarket/infra"
)

// TierReport is what the doctor found of one tier.
type TierReport struct {
	Tier     Tier            `json:"tier"`
	Findings []infra.Finding `json:"findings"`
}

// Broken are the names of the checks that do not hold.
func (r TierReport) Broken() (names []string) {
	for _, f := range r.Findings {
		if f.State == infra.Broken {
			names = append(names, f.Check)
		}
	}
	return names
}

// examined reports whether the doctor got an answer.
func (r TierReport) examined() bool {
	return slices.ContainsFunc(r.Findings, func(f infra.Finding) bool { return f.State != infra.Unknown })
}

// DoctorReport is the last examination of the cluster, and whether another is asked for.
type DoctorReport struct {
	RequestedAt time.Time
	RequestedBy string
	TakenAt     time.Time // when a worker began the last one
	FinishedAt  time.Time // zero: there is none yet
	Fingerprint string    // see infra.Doctor
	Tiers       []TierReport
}

// Pending reports whether an examination is asked for, or goes on.
func (r DoctorReport) Pending() bool {
	return r.RequestedAt.After(r.TakenAt) || r.TakenAt.After(r.FinishedAt)
}

// Carry keeps what was known of tiers of which the new examination found out nothing: a
// probe that cannot start makes no broken tier whole.
func (r DoctorReport) Carry(tiers []TierReport) []TierReport {
	for i, t := range tiers {
		if t.examined() {
			continue
		}
		for _, old := range r.Tiers {
			if old.Tier == t.Tier && old.examined() {
				kept := slices.DeleteFunc(slices.Clone(old.Findings), func(f infra.Finding) bool { return f.Check == infra.CheckProbe })
				tiers[i].Findings = append(slices.Clone(t.Findings), kept...)
			}
		}
	}
	return tiers
}

// DoctorStore keeps the report of the doctor, of which there is one.
type DoctorStore interface {
	// DoctorReport returns the report; the zero value: nobody has asked for one.
	DoctorReport(ctx context.Context) (DoctorReport, error)
	// RequestDoctor asks for an examination, with an entry of the audit log.
	RequestDoctor(ctx context.Context, by audit.Actor, at time.Time) error
	// TakeDoctor gives the examination that is asked for to one worker, until the lease
	// ends; false: there is none. A fingerprint other than that of the report asks for
	// one, too; an empty one does not.
	TakeDoctor(ctx context.Context, fingerprint string, at, until time.Time) (bool, error)
	// FinishDoctor stores what was found, and ends the lease.
	FinishDoctor(ctx context.Context, fingerprint string, tiers []TierReport, at time.Time) error
}

// Tiers is what a process knows of the tiers. The nil Tiers refuses none.
type Tiers struct {
	// Strict refuses tiers that were not examined, too.
	Strict bool
	report atomic.Pointer[DoctorReport]
}

// Learn replaces what is known.
func (t *Tiers) Learn(r DoctorReport) { t.report.Store(&r) }

// Refusal says why a tier is refused; empty: it is not.
func (t *Tiers) Refusal(tier Tier) string {
	if t == nil {
		return ""
	}
	if r := t.report.Load(); r != nil {
		for _, found := range r.Tiers {
			if broken := found.Broken(); found.Tier == tier && len(broken) > 0 {
				return "this cluster does not keep what the tier promises: " + strings.Join(broken, ", ")
			} else if found.Tier == tier && found.examined() {
				return ""
			}
		}
	}
	if t.Strict {
		return "the tier has not been examined in this cluster yet"
	}
	return ""
}

// Keeps reports whether a check of a tier was seen to hold. What was not examined does not.
func (t *Tiers) Keeps(tier Tier, check string) bool {
	if t == nil {
		return false
	}
	r := t.report.Load()
	return r != nil && slices.ContainsFunc(r.Tiers, func(found TierReport) bool {
		return found.Tier == tier && slices.ContainsFunc(found.Findings, func(f infra.Finding) bool { return f.Check == check && f.State == infra.Holds })
	})
}

// Detail says of each tier that was examined "ok", or why it is refused.
func (t *Tiers) Detail() map[Tier]string {
	if t == nil {
		return nil
	}
	detail := map[Tier]string{}
	if r := t.report.Load(); r != nil {
		for _, found := range r.Tiers {
			detail[found.Tier] = "ok"
			if !found.examined() {
				detail[found.Tier] = "not examined"
			}
		}
	}
	for tier := range detail {
		if refusal := t.Refusal(tier); refusal != "" {
			detail[tier] = "refused: " + refusal
		}
	}
	return detail
}
