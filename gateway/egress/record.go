package egress

import (
	"net/netip"
	"time"

	"agentmarket/ids"
)

// Outcome is how a connection ended.
type Outcome string

// The outcomes. Those before Closed are of connections that never were.
const (
	TargetInvalid Outcome = "target_invalid" // no host and port
	NotGranted    Outcome = "not_granted"
	Unresolved    Outcome = "unresolved"  // the name has no address
	NotPublic     Outcome = "not_public"  // none that may be connected to
	Unreachable   Outcome = "unreachable" // nobody answers there

	Closed       Outcome = "closed"        // by both sides
	Broken       Outcome = "broken"        // by one of them, in the middle
	HelloInvalid Outcome = "hello_invalid" // no TLS, or none in time
	NameHidden   Outcome = "name_hidden"   // the ClientHello does not say whom it wants
	NameOther    Outcome = "name_other"    // or somebody else
	Idle         Outcome = "idle"
	BytesUsedUp  Outcome = "bytes_used_up" // by the run
	SessionEnded Outcome = "session_ended"
	Stopped      Outcome = "stopped" // the gateway has
)

// Connection is a connection as it is recorded.
type Connection struct {
	Run     ids.Run
	Attempt int
	// Host and Port are those that were asked for. Where that is no host and port they are
	// empty, and Target is what it is instead: at most 100 bytes of printable ASCII, other
	// characters as question marks.
	Host   string
	Port   uint16
	Target string
	// Address is what it was connected to, or would have been; not valid: there is none.
	Address netip.Addr
	// Started is when it was asked for.
	Started  time.Time
	Duration time.Duration
	// Sent and Received are the bytes that were passed on, as the agent sees them.
	Sent, Received int64
	Outcome        Outcome // empty while it goes on
}

// Refused reports whether it never was a connection.
func (c Connection) Refused() bool {
	switch c.Outcome {
	case TargetInvalid, NotGranted, Unresolved, NotPublic, Unreachable:
		return true
	default:
		return false
	}
}
