package product

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
)

// CodeSessionClosed is the code of every call of an attempt that is over, canceled or
// replaced by another one.
const CodeSessionClosed = "session_closed"

// Open says that an attempt goes on and may act: it is the run's newest, nobody knows
// of its end, and nobody canceled the run. Otherwise it is fault.Conflict with the code
// session_closed.
func (r *Run) Open(attempt int) error {
	switch i := len(r.Attempts) - 1; {
	case r.Status.Terminal():
		return sessionClosed("the run has ended")
	case r.Cancel != nil:
		return sessionClosed("the run was canceled")
	case i < 0 || r.Attempts[i].Number != attempt:
		return sessionClosed("the attempt was replaced by another one")
	case r.Attempts[i].Reason != "" || !r.Attempts[i].ReportedAt.IsZero():
		return sessionClosed("the attempt has ended")
	}
	return nil
}

func sessionClosed(why string) error { return fault.New(fault.Conflict, CodeSessionClosed, why) }

// SessionClosed is the error of an attempt of which nobody says why it may not act.
func SessionClosed() error { return sessionClosed("the attempt does not go on") }

// Told is what an attempt tells of its work at once, in its order.
type Told struct {
	Run     ids.Run
	Attempt int
	Events  []Event
	// Late events are the end of something whose beginning was told while the attempt was
	// open: they are stored whatever has become of it, and however many there are.
	Late bool
}

// Artifact is a file that an attempt left beside its result.
type Artifact struct {
	ID          ids.Artifact
	RunID       ids.Run
	Attempt     int
	Name        string
	ContentType string
	Blob        Blob
	CreatedAt   time.Time
}

// ArtifactKey is where the body of an artifact is kept.
func ArtifactKey(run ids.Run, id ids.Artifact) string {
	return fmt.Sprintf("runs/%s/artifacts/%s", run, id)
}

// ResultArtifact is the name under which the gateway keeps the result of an attempt
// until it is collected. No agent can use it, and nobody sees it.
const ResultArtifact = ".result"

// SessionStore keeps what attempts do while they go on. Every change finds out in its
// own transaction whether the attempt is open, see [Run.Open]: what is stored was done
// before the run was canceled, before the attempt was replaced, before its end.
type SessionStore interface {
	// TellEvents appends what many attempts tell, in one transaction. The errors are
	// in the order of what was told: nil, or why nothing of it is stored; beyond
	// MaxRunEvents events of a run fault.RateLimited, too_many_events.
	TellEvents(ctx context.Context, told []Told) []error
	// OpenAttempts returns which attempt of some runs may act; one that is missing has
	// none.
	OpenAttempts(ctx context.Context, runs []ids.Run) (map[ids.Run]int, error)
	// ReportEnd keeps what the supervisor says of the end of an attempt, which is
	// closed from then on. The same report again changes nothing.
	ReportEnd(ctx context.Context, run ids.Run, attempt int, report json.RawMessage, at time.Time) error
	// Report loads what ReportEnd kept; fault.NotFound without one.
	Report(ctx context.Context, run ids.Run, attempt int) (json.RawMessage, error)
	// BeginArtifact notes that the body of an artifact is about to be stored, so that
	// it can be removed whatever happens. Beyond MaxArtifacts of a run it is
	// fault.TooLarge, too_many_artifacts.
	BeginArtifact(ctx context.Context, a Artifact) error
	// FinishArtifact keeps an artifact whose body is stored, in place of another one
	// of the attempt with its name, which it returns. Beyond MaxArtifactBytes of a run
	// it is fault.TooLarge, artifacts_too_large.
	FinishArtifact(ctx context.Context, a Artifact) (replaced *Artifact, err error)
	// Artifacts lists what the attempts of a run left, newest attempt first, by name;
	// ResultArtifact is among them.
	Artifacts(ctx context.Context, run ids.Run) ([]Artifact, error)
	// AllArtifacts lists them with those that were never finished.
	AllArtifacts(ctx context.Context, run ids.Run) ([]Artifact, error)
}

// The bounds of what a run may keep are those of the contract with agents.
const (
	MaxRunEvents     = agentruntime.MaxRunEvents
	MaxArtifacts     = agentruntime.MaxArtifacts
	MaxArtifactBytes = agentruntime.MaxArtifactBytes
)
