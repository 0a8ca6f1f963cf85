package product

import (
	"time"

	"agentmarket/ids"
)

// Samples sum up ended runs of a version that a rollout is judged by. Samples are
// the runs of those that the rollout is about: of the new version those that it has
// brought, of the old one those of who follows a channel. The runs of the publisher
// are none, and neither are ends that the caller or the platform caused.
type Samples struct {
	Runs     int64
	Failed   int64
	Micros   int64         // what they cost together
	Duration time.Duration // how long they ran together
}

// OrgSamples are the samples of a version, by the organization that started the
// runs. Of each only the newest ones count: see MinShares.
type OrgSamples map[ids.Org]Samples

// MinShares is of how many organizations the samples are that are needed at least,
// where so many have samples: none has more than its share of Thresholds.MinSamples,
// rounded up. Where fewer have samples each has as large a share as the others.
const MinShares = 4

// Sum adds up the samples of all organizations.
func (s OrgSamples) Sum() Samples {
	var sum Samples
	for _, of := range s {
		sum.Runs += of.Runs
		sum.Failed += of.Failed
		sum.Micros += of.Micros
		sum.Duration += of.Duration
	}
	return sum
}

// without takes the samples of one organization away from those of all.
func (s Samples) without(of Samples) Samples {
	return Samples{s.Runs - of.Runs, s.Failed - of.Failed, s.Micros - of.Micros, s.Duration - of.Duration}
}

// mean is a sum of the samples per run; 0 without any.
func (s Samples) mean(sum int64) float64 {
	if s.Runs == 0 {
		return 0
	}
	return float64(sum) / float64(s.Runs)
}
