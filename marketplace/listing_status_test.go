package marketplace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
)

var later = now.Add(time.Hour)

// states says where a step leads from each state; what is missing is refused.
type states map[marketplace.ListingStatus]marketplace.ListingStatus

type step struct {
	name string
	do   func(*marketplace.Listing) error
	to   states
}

// steps are the changes of a listing's state, under review.
var steps = []step{
	{"submit", func(l *marketplace.Listing) error { return l.Submit(nil, true, later) },
		states{
			marketplace.ListingDraft: marketplace.ListingInReview,
		}},
	{"approve", func(l *marketplace.Listing) error { return l.Approve(later) },
		states{
			marketplace.ListingInReview: marketplace.ListingPublished,
		}},
	{"reject", (*marketplace.Listing).Reject,
		states{
			marketplace.ListingInReview: marketplace.ListingDraft,
		}},
	{"withdraw", (*marketplace.Listing).Withdraw,
		states{
			marketplace.ListingInReview: marketplace.ListingDraft,
		}},
	{"deprecate", func(l *marketplace.Listing) error { return l.Deprecate("use acme/greeter-2") },
		states{
			marketplace.ListingPublished: marketplace.ListingDeprecated,
		}},
	{"restore", (*marketplace.Listing).Restore,
		states{
			marketplace.ListingDeprecated: marketplace.ListingPublished,
		}},
	{"suspend", func(l *marketplace.Listing) error { return l.Suspend("it mines coins") },
		states{
			marketplace.ListingDraft:      marketplace.ListingSuspended,
			marketplace.ListingInReview:   marketplace.ListingSuspended,
			marketplace.ListingPublished:  marketplace.ListingSuspended,
			marketplace.ListingDeprecated: marketplace.ListingSuspended,
		}},
	{"reinstate", (*marketplace.Listing).Reinstate,
		states{
			marketplace.ListingSuspended: marketplace.ListingPublished, // this one was out and approved
		}},
	{"edit", func(l *marketplace.Listing) error { return l.Edit(content(), l.Visibility, true, later) },
		states{
			marketplace.ListingDraft:      marketplace.ListingDraft,
			marketplace.ListingPublished:  marketplace.ListingPublished,
			marketplace.ListingDeprecated: marketplace.ListingDeprecated,
			marketplace.ListingSuspended:  marketplace.ListingSuspended,
		}},
}

// in returns a public listing in a state, with the history that leads there.
func in(t *testing.T, status marketplace.ListingStatus) marketplace.Listing {
	t.Helper()
	l := listing(t, marketplace.VisibilityPublic)
	do := func(names ...string) {
		for _, name := range names {
			i := slices.IndexFunc(steps, func(s step) bool { return s.name == name })
			require.NoError(t, steps[i].do(&l), name)
		}
	}
	switch status {
	case marketplace.ListingDraft:
	case marketplace.ListingInReview:
		do("submit")
	case marketplace.ListingPublished:
		do("submit", "approve")
	case marketplace.ListingDeprecated:
		do("submit", "approve", "deprecate")
	case marketplace.ListingSuspended:
		do("submit", "approve", "suspend")
	}
	require.Equal(t, status, l.Status)
	return l
}

func TestEveryStatusAndEveryStep(t *testing.T) {
	for _, status := range marketplace.ListingStatuses() {
		for _, step := range steps {
			t.Run(fmt.Sprintf("%s %s", step.name, status), func(t *testing.T) {
				l := in(t, status)
				before := l
				err := step.do(&l)
				to, allowed := step.to[status]
				if !allowed {
					denied(t, err, fault.Conflict, "listing_state")
					require.Contains(t, fault.From(err).Message, string(status))
					require.Empty(t, cmp.Diff(before, l), "a step that is refused changes nothing")
					return
				}
				require.NoError(t, err)
				require.Equal(t, to, l.Status)
				// Only what was let out is out.
				if l.Status == marketplace.ListingPublished || l.Status == marketplace.ListingDeprecated {
					require.True(t, l.Approved)
					require.False(t, l.PublishedAt.IsZero())
				}
				// A notice is of deprecations and suspensions only.
				if l.Status != marketplace.ListingDeprecated && l.Status != marketplace.ListingSuspended {
					require.Empty(t, l.Notice)
				}
			})
		}
	}
}

func TestSubmit(t *testing.T) {
	good := []marketplace.Check{{Name: "manifest", Passed: true}}
	bad := []marketplace.Check{
		{Name: "manifest", Passed: true},
		{Name: "samples", Message: "does not match", Pointer: "/samples/1"},
		{Name: "image", Message: "is not there"},
	}
	for _, review := range []bool{true, false} {
		for _, v := range marketplace.Visibilities() {
			l := listing(t, v)
			err := l.Submit(bad, review, later)
			denied(t, err, fault.Invalid, "listing_checks_failed")
			require.Equal(t, []string{"/samples/1", ""}, pointers(t, err))
			require.Empty(t, cmp.Diff(listing(t, v), l), "nothing changes")

			require.NoError(t, l.Submit(good, review, later))
			require.Equal(t, good, l.Checks)
			require.Equal(t, later, l.SubmittedAt)
			if review && v != marketplace.VisibilityOrganization {
				require.Equal(t, marketplace.ListingInReview, l.Status)
				require.False(t, l.Approved)
				require.Zero(t, l.PublishedAt)
				continue
			}
			require.Equal(t, marketplace.ListingPublished, l.Status)
			require.Equal(t, later, l.PublishedAt)
			require.Equal(t, v != marketplace.VisibilityOrganization, l.Approved, "what stays inside needed no approval, and has none")
		}
	}
}

func TestRejectedListingIsResubmitted(t *testing.T) {
	l := in(t, marketplace.ListingInReview)
	require.NoError(t, l.Reject())
	require.NoError(t, l.Edit(content(), l.Visibility, true, later))
	require.NoError(t, l.Submit(nil, true, later))
	require.Equal(t, marketplace.ListingInReview, l.Status, "a rejection is no approval")
	require.NoError(t, l.Approve(later))
	require.Equal(t, later, l.PublishedAt)
	require.NoError(t, l.Deprecate(""))
	require.NoError(t, l.Restore())
	require.Equal(t, later, l.PublishedAt, "it was published first when it was published first")
}

// TestEditsThatShowAListingToMore goes through every change of visibility of a
// listing that is out, under review and without.
func TestEditsThatShowAListingToMore(t *testing.T) {
	public, private, inside := marketplace.VisibilityPublic, marketplace.VisibilityPrivate, marketplace.VisibilityOrganization
	for _, tc := range []struct {
		from, to marketplace.Visibility
		again    bool // needs another approval
	}{
		{public, public, false}, {public, private, false}, {public, inside, false},
		{private, public, true}, {private, private, false}, {private, inside, false},
		{inside, public, true}, {inside, private, true}, {inside, inside, false},
	} {
		for _, review := range []bool{true, false} {
			for _, deprecated := range []bool{true, false} {
				name := fmt.Sprintf("%s to %s, review %t, deprecated %t", tc.from, tc.to, review, deprecated)
				t.Run(name, func(t *testing.T) {
					l := listing(t, tc.from)
					require.NoError(t, l.Submit(nil, review, now))
					if l.Status == marketplace.ListingInReview {
						require.NoError(t, l.Approve(now))
					}
					if deprecated {
						require.NoError(t, l.Deprecate("old"))
					}
					out := l.Status
					require.NoError(t, l.Edit(content(), tc.to, review, later))
					require.Equal(t, tc.to, l.Visibility)
					require.Equal(t, later, l.UpdatedAt)
					if !review || !tc.again {
						require.Equal(t, out, l.Status)
						return
					}
					require.Equal(t, marketplace.ListingDraft, l.Status)
					require.NoError(t, l.Submit(nil, true, later))
					require.Equal(t, marketplace.ListingInReview, l.Status)
				})
			}
		}
	}
}

// A suspension is no way around the review: what its publisher opened meanwhile
// does not come out with it.
func TestReinstateLetsNothingOutThatWasNotApproved(t *testing.T) {
	l := listing(t, marketplace.VisibilityOrganization)
	require.NoError(t, l.Submit(nil, true, now))
	require.NoError(t, l.Suspend("why"))
	require.NoError(t, l.Edit(content(), marketplace.VisibilityPublic, true, later))
	require.Equal(t, marketplace.ListingSuspended, l.Status)
	require.NoError(t, l.Reinstate())
	require.Equal(t, marketplace.ListingDraft, l.Status)
	require.Empty(t, l.Notice)

	for _, v := range marketplace.Visibilities() { // nor what was never submitted
		l := listing(t, v)
		require.NoError(t, l.Suspend("why"))
		require.NoError(t, l.Reinstate())
		require.Equal(t, marketplace.ListingDraft, l.Status)
	}
}

func TestEditChecksWhatItIsGiven(t *testing.T) {
	l := in(t, marketplace.ListingPublished)
	before := l
	wrong := content()
	wrong.Title = ""
	require.Equal(t, []string{"/title"}, pointers(t, l.Edit(wrong, l.Visibility, true, later)))
	require.Equal(t, []string{"/visibility"}, pointers(t, l.Edit(content(), "everybody", true, later)))
	require.Empty(t, cmp.Diff(before, l))
}

func TestNotices(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "Use acme/greeter-2\ninstead.": true, strings.Repeat("ä", marketplace.MaxNotice): true,
		strings.Repeat("ä", marketplace.MaxNotice+1): false, "a\x00": false, "\xff": false, " ": false,
	} {
		for name, step := range map[string]func(*marketplace.Listing, string) error{
			"deprecate": (*marketplace.Listing).Deprecate, "suspend": (*marketplace.Listing).Suspend,
		} {
			l := in(t, marketplace.ListingPublished)
			err := step(&l, text)
			if ok {
				require.NoError(t, err)
				require.Equal(t, text, l.Notice)
				continue
			}
			require.Equal(t, []string{"/notice"}, pointers(t, err), "%s %q", name, text)
			require.Equal(t, marketplace.ListingPublished, l.Status)
		}
	}
}
