package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// ran stores a run of a version by an organization that started, and ended.
func ran(t *testing.T, s Stores, org marketplace.Organization, agent product.Agent, version product.Version) product.Run {
	t.Helper()
	w := world{Stores: s, org: org, agent: agent, version: version}
	run := w.create(t, w.queued(start))
	w.update(t, run.ID, fillIn)
	w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.AttemptStarted(2, after(time.Minute))}, nil
	})
	return w.settle(t, run.ID, product.ReasonCanceled, after(time.Hour))
}

func aReview(t *testing.T, org marketplace.Organization, version product.Version, rating int) marketplace.Review {
	t.Helper()
	r, err := marketplace.NewReview(marketplace.Review{
		AgentID: version.AgentID, OrgID: org.ID, VersionID: version.ID, Version: version.Number,
		Author: "usr_reviewer", Rating: rating, Title: "Does its job", Text: "Most of the time.\nIt's \"fine\".",
	}, start)
	require.NoError(t, err)
	r.CreatedAt, r.UpdatedAt = stored(r.CreatedAt), stored(r.UpdatedAt)
	return r
}

func putReview(t *testing.T, s Stores, r marketplace.Review) marketplace.Review {
	t.Helper()
	r, err := s.Marketplace.PutReview(t.Context(), actor, r)
	require.NoError(t, err)
	return r
}

func requireRating(t *testing.T, s Stores, agent ids.Agent, ratings, stars int64) {
	t.Helper()
	l, err := s.Marketplace.Listing(t.Context(), agent)
	require.NoError(t, err)
	require.Equal(t, []int64{ratings, stars}, []int64{l.Ratings, l.Stars}, "ratings and stars")
}

var reviewTests = []testCase{
	{"an organization reviews a version that it has run", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		r := aReview(t, m.buyer, m.version, 4)
		_, err := s.Marketplace.PutReview(t.Context(), actor, r)
		requireFault(t, err, fault.Forbidden, "review_needs_run")
		w := world{Stores: s, org: m.buyer, agent: m.agent, version: m.version}
		run := w.create(t, w.queued(start))
		_, err = s.Marketplace.PutReview(t.Context(), actor, r)
		requireFault(t, err, fault.Forbidden, "review_needs_run")
		w.settle(t, run.ID, product.ReasonNotEntitled, after(time.Second))
		_, err = s.Marketplace.PutReview(t.Context(), actor, r)
		requireFault(t, err, fault.Forbidden, "review_needs_run") // ended, and never started
		started := w.create(t, w.queued(start))
		w.update(t, started.ID, fillIn)
		_, err = s.Marketplace.PutReview(t.Context(), actor, r)
		requireFault(t, err, fault.Forbidden, "review_needs_run") // goes on
		requireRating(t, s, m.agent.ID, 0, 0)

		ran(t, s, m.buyer, m.agent, m.version)
		requireSame(t, r, putReview(t, s, r))
		requireRating(t, s, m.agent.ID, 1, 4)
		list, err := s.Marketplace.Reviews(t.Context(), m.agent.ID, "", 0)
		require.NoError(t, err)
		requireSame(t, []marketplace.Review{r}, list)
	}},
	{"a run of another version, agent or organization does not count", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		_, second := publish(t, s, m.publisher, m.agent.Name, "2.0.0", start)
		other := m.another(t, "other")
		other.list(t, marketplace.VisibilityPublic)
		ran(t, s, m.buyer, m.agent, m.version)
		_, err := s.Marketplace.PutReview(t.Context(), actor, aReview(t, m.buyer, second, 1))
		requireFault(t, err, fault.Forbidden, "review_needs_run")
		_, err = s.Marketplace.PutReview(t.Context(), actor, aReview(t, anOrganization(t, s, "initech"), m.version, 1))
		requireFault(t, err, fault.Forbidden, "review_needs_run")
		misled := aReview(t, m.buyer, m.version, 1)
		misled.AgentID = other.agent.ID
		_, err = s.Marketplace.PutReview(t.Context(), actor, misled)
		requireFault(t, err, fault.Forbidden, "review_needs_run")
	}},
	{"a publisher does not review its own agent; what is not listed is not reviewed", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		ran(t, s, m.publisher, m.agent, m.version)
		_, err := s.Marketplace.PutReview(t.Context(), actor, aReview(t, m.publisher, m.version, 5))
		requireFault(t, err, fault.Forbidden, "review_own_agent")
		hidden := m.another(t, "hidden")
		_, err = s.Marketplace.PutReview(t.Context(), actor, aReview(t, m.buyer, hidden.version, 5))
		requireFault(t, err, fault.NotFound, "listing_not_found")
	}},
	{"a second review of the version changes the first, one of another version is another", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		ran(t, s, m.buyer, m.agent, m.version)
		first := putReview(t, s, aReview(t, m.buyer, m.version, 5))
		changed := aReview(t, m.buyer, m.version, 2)
		changed.Title, changed.Text, changed.Author, changed.UpdatedAt = "Not any more", "", "usr_other", stored(after(time.Hour))
		got := putReview(t, s, changed)
		changed.ID, changed.CreatedAt = first.ID, first.CreatedAt
		requireSame(t, changed, got)
		requireRating(t, s, m.agent.ID, 1, 2)

		_, second := publish(t, s, m.publisher, m.agent.Name, "2.0.0", start)
		ran(t, s, m.buyer, m.agent, second)
		again := putReview(t, s, aReview(t, m.buyer, second, 5))
		requireRating(t, s, m.agent.ID, 2, 7)
		list, err := s.Marketplace.Reviews(t.Context(), m.agent.ID, "", 1)
		require.NoError(t, err)
		requireSame(t, []marketplace.Review{again}, list)
		list, err = s.Marketplace.Reviews(t.Context(), m.agent.ID, again.ID, 1)
		require.NoError(t, err)
		requireSame(t, []marketplace.Review{changed}, list)

		for _, action := range []string{"review.create", "review.update"} {
			entries, err := s.Marketplace.Audit(t.Context(), m.buyer.ID, audit.Query{Action: action, Subject: string(first.ID)})
			require.NoError(t, err)
			require.Len(t, entries, 1, action)
		}
	}},
	{"a review that is deleted no longer counts, and may be written anew", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		ran(t, s, m.buyer, m.agent, m.version)
		r := putReview(t, s, aReview(t, m.buyer, m.version, 3))
		requireFault(t, s.Marketplace.DeleteReview(t.Context(), actor, m.publisher.ID, r.ID, start), fault.NotFound, "review_not_found")
		require.NoError(t, s.Marketplace.DeleteReview(t.Context(), actor, m.buyer.ID, r.ID, start))
		requireFault(t, s.Marketplace.DeleteReview(t.Context(), actor, m.buyer.ID, r.ID, start), fault.NotFound, "review_not_found")
		requireRating(t, s, m.agent.ID, 0, 0)
		list, err := s.Marketplace.Reviews(t.Context(), m.agent.ID, "", 0)
		require.NoError(t, err)
		require.Empty(t, list)
		entries, err := s.Marketplace.Audit(t.Context(), m.buyer.ID, audit.Query{Action: "review.delete", Subject: string(r.ID)})
		require.NoError(t, err)
		require.Len(t, entries, 1)
		putReview(t, s, aReview(t, m.buyer, m.version, 1))
		requireRating(t, s, m.agent.ID, 1, 1)
	}},
	{"many reviews at once are all counted, and one of each organization is kept", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		buyers := []marketplace.Organization{m.buyer, anOrganization(t, s, "initech"), anOrganization(t, s, "hooli")}
		for _, b := range buyers {
			ran(t, s, b, m.agent, m.version)
		}
		var failed atomic.Int32
		together(15, func(i int) {
			if _, err := s.Marketplace.PutReview(t.Context(), actor, aReview(t, buyers[i%3], m.version, 1+i/3)); err != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		list, err := s.Marketplace.Reviews(t.Context(), m.agent.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, list, 3)
		stars := int64(0)
		for _, r := range list {
			stars += int64(r.Rating)
		}
		requireRating(t, s, m.agent.ID, 3, stars)
	}},
}
