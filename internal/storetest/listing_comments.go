package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
)

var listingCommentTests = []testCase{
	{"what is said with a change is stored with it, or not at all", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		said := func(open, internal string) (comments []marketplace.Comment) {
			for text, hidden := range map[string]bool{open: false, internal: true} {
				c, err := marketplace.NewComment(m.agent.ID, "usr_operator", text, hidden, start)
				require.NoError(t, err)
				comments = append(comments, c)
			}
			return comments
		}
		texts := func(internal bool) []string {
			comments, err := s.Marketplace.Comments(t.Context(), m.agent.ID, internal, "", 0)
			require.NoError(t, err)
			list := []string{}
			for _, c := range comments {
				list = append(list, c.Text)
			}
			return list
		}
		_, err := s.Marketplace.UpdateListing(t.Context(), actor, m.agent.ID, "listing.approve", said("welcome", "who is it?"),
			(*marketplace.Listing).Restore)
		requireFault(t, err, fault.Conflict, "listing_state")
		require.Empty(t, texts(true))
		_, err = s.Marketplace.UpdateListing(t.Context(), actor, m.agent.ID, "listing.deprecate", said("bye", "at last"),
			func(l *marketplace.Listing) error { return l.Deprecate("") })
		require.NoError(t, err)
		require.Equal(t, []string{"bye"}, texts(false))
		require.ElementsMatch(t, []string{"bye", "at last"}, texts(true))
		newest, err := s.Marketplace.Comments(t.Context(), m.agent.ID, true, "", 1)
		require.NoError(t, err)
		require.Len(t, newest, 1)
		older, err := s.Marketplace.Comments(t.Context(), m.agent.ID, true, newest[0].ID, 0)
		require.NoError(t, err)
		require.Len(t, older, 1)
		require.Less(t, older[0].ID, newest[0].ID)
		require.Len(t, actions(t, s, m.publisher.ID, auditOf(string(m.agent.ID))), 4, "created, the agent too, submitted, deprecated")
	}},
}
