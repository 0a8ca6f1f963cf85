package product

import (
	"time"

	"agentmarket/ids"
	"agentmarket/money"
)

// Schedule starts an agent again and again.
type Schedule struct {
	ID          ids.Schedule
	OrgID       ids.Org
	KeyID       ids.Key  // under whose rights the runs start
	UserID      ids.User // of the person behind the key
	TeamID      ids.Team
	Name        string
	AgentID     ids.Agent
	Agent       string // publisher/name
	Version     string // as in a start; empty: what is installed
	Input       []byte
	Request     Request
	Labels      map[string]string
	Cron        string // five fields, or @daily and the like
	TimeZone    string // of the IANA database; empty: UTC
	Overlap     Overlap
	Paused      bool
	PauseReason string // for people
	// Budget bounds what the runs of the schedule may cost in a calendar month
	// (UTC). Zero currency: no bound.
	Budget    money.Amount
	CreatedAt time.Time
	UpdatedAt time.Time
	// Revision grows with every change: what Temporal was told of is compared.
	Revision int64
	Deleted  bool
}

// Overlap is what happens to a start while the run before goes on.
type Overlap string

// The policies of overlap.
const (
	OverlapSkip      Overlap = "skip"
	OverlapBufferOne Overlap = "buffer_one"
	OverlapCancel    Overlap = "cancel_other"
	OverlapAllow     Overlap = "allow"
)

// The bounds of schedules.
const (
	MaxSchedules    = 1000 // of an organization
	MaxScheduleName = 100  // characters
	MaxBackfill     = 1000 // starts of one backfill
)
