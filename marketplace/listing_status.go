package marketplace

import (
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// The life of a listing:
//
//	            submit                 approve
//	 draft ───────────────► in_review ─────────► published ◄──► deprecated
//	   ▲  ◄─────────────────────┘ reject,            │  ▲            │
//	   │                          withdraw           ▼  │ reinstate  │
//	   │                                          suspended ◄────────┘
//	   └── edit that makes it visible to more people than were approved
//
// Without review submit goes to published at once, and so it does for a listing
// that stays within its organization. A draft and what is in review can be
// suspended as well, for they may have buyers from before; whatever was not
// approved is reinstated as a draft.

// errState refuses a step from where the listing is.
func (l Listing) errState(step string) error {
	return fault.Newf(fault.Conflict, "listing_state", "a listing that is %s cannot be %s", l.Status, step)
}

// Submit asks for publication. checks are what was found; one that failed refuses
// the submission with listing_checks_failed and leaves the listing as it is.
func (l *Listing) Submit(checks []Check, review bool, now time.Time) error {
	if l.Status != ListingDraft {
		return l.errState("submitted")
	}
	if failed := failedChecks(checks); len(failed) > 0 {
		return fault.New(fault.Invalid, "listing_checks_failed", "the listing cannot be submitted yet").WithFields(failed...)
	}
	l.Checks, l.SubmittedAt = checks, now
	if review && l.leavesOrganization() && !l.Approved {
		l.Status = ListingInReview
		return nil
	}
	l.publish(now)
	return nil
}

func (l *Listing) publish(now time.Time) {
	l.Status, l.Notice = ListingPublished, ""
	l.Approved = l.Approved || l.leavesOrganization()
	if l.PublishedAt.IsZero() {
		l.PublishedAt = now
	}
}

func (l *Listing) leavesOrganization() bool { return l.Visibility != VisibilityOrganization }

// Approve publishes a listing that is in review.
func (l *Listing) Approve(now time.Time) error {
	if l.Status != ListingInReview {
		return l.errState("approved")
	}
	l.publish(now)
	return nil
}

// Reject sends a listing in review back to its publisher, who reads why in the
// comments.
func (l *Listing) Reject() error {
	if l.Status != ListingInReview {
		return l.errState("rejected")
	}
	l.Status = ListingDraft
	return nil
}

// Withdraw takes a submission back.
func (l *Listing) Withdraw() error {
	if l.Status != ListingInReview {
		return l.errState("withdrawn")
	}
	l.Status = ListingDraft
	return nil
}

// Deprecate takes a listing out of the catalog. Who has bought it keeps it.
func (l *Listing) Deprecate(notice string) error {
	if l.Status != ListingPublished {
		return l.errState("deprecated")
	}
	if err := checkNotice(notice); err != nil {
		return err
	}
	l.Status, l.Notice = ListingDeprecated, notice
	return nil
}

// Restore puts a deprecated listing back into the catalog.
func (l *Listing) Restore() error {
	if l.Status != ListingDeprecated {
		return l.errState("restored")
	}
	l.Status, l.Notice = ListingPublished, ""
	return nil
}

// Suspend stops an agent, for everybody but its publisher: nobody finds it, buys
// it or starts a run of it. Runs that go on are not touched.
func (l *Listing) Suspend(notice string) error {
	if l.Status == ListingSuspended {
		return l.errState("suspended")
	}
	if err := checkNotice(notice); err != nil {
		return err
	}
	l.Status, l.Notice = ListingSuspended, notice
	return nil
}

// checkNotice checks what buyers are told; nothing is allowed.
func checkNotice(notice string) error {
	if notice == "" {
		return nil
	}
	return checkLongText(notice, "/notice", MaxNotice)
}

// Reinstate ends a suspension. What was never out, or would be seen by more than
// it was approved for, is a draft then.
func (l *Listing) Reinstate() error {
	if l.Status != ListingSuspended {
		return l.errState("reinstated")
	}
	l.Status, l.Notice = ListingPublished, ""
	if l.PublishedAt.IsZero() || l.leavesOrganization() && !l.Approved {
		l.Status = ListingDraft
	}
	return nil
}

// Edit changes content and visibility. A listing in review cannot be edited. One
// that is out becomes a draft again when it is to be seen by more than were
// approved under review: outside of its organization, or by everybody.
func (l *Listing) Edit(content ListingContent, visibility Visibility, review bool, now time.Time) error {
	if l.Status == ListingInReview {
		return l.errState("edited; withdraw it first")
	}
	if err := content.Check(); err != nil {
		return err
	}
	if !slices.Contains(Visibilities(), visibility) {
		return invalidField("/visibility", "must be public, organization or private")
	}
	if review && visibility == VisibilityPublic && l.Visibility != VisibilityPublic {
		l.Approved = false // it was, for those who were granted it
	}
	l.Content, l.Visibility, l.UpdatedAt = content, visibility, now
	out := l.Status == ListingPublished || l.Status == ListingDeprecated
	if out && review && l.leavesOrganization() && !l.Approved {
		l.Status = ListingDraft
	}
	return nil
}

// Comment is a remark of the review of a listing.
type Comment struct {
	ID       ids.Comment
	AgentID  ids.Agent
	Author   string // identifier of the actor
	Internal bool   // for operators only
	Text     string
	At       time.Time
}

// NewComment returns a comment.
func NewComment(agent ids.Agent, author, text string, internal bool, now time.Time) (Comment, error) {
	c := Comment{
		ID: ids.New[ids.Comment](ids.PrefixComment), AgentID: agent, Author: author,
		Internal: internal, Text: text, At: now,
	}
	return c, checkLongText(text, "/comment", MaxComment)
}

// Grant lets an organization, or a team or a person of it, see a private agent,
// or run any agent without paying.
type Grant struct {
	ID        ids.Grant
	AgentID   ids.Agent
	OrgID     ids.Org  // whom it is given to
	TeamID    ids.Team // empty: not limited to a team
	UserID    ids.User // empty: not limited to a person
	Access    Access
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time // zero: does not expire
	RevokedAt time.Time // zero: not revoked

	Organization string // its name; filled in by GrantStore.Grants
}

// Access is what a grant gives.
type Access string

// The accesses.
const (
	AccessView Access = "view" // see it, and buy it at its price
	AccessRun  Access = "run"  // see it, and run it without paying
)
