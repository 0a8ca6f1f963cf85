package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

func artifactOf(run product.Run, name string) product.Artifact {
	id := ids.New[ids.Artifact](ids.PrefixArtifact)
	return product.Artifact{
		ID: id, RunID: run.ID, Attempt: len(run.Attempts), Name: name, ContentType: "text/plain",
		Blob: product.Blob{Key: product.ArtifactKey(run.ID, id), Size: 3, SHA256: "ab"}, CreatedAt: stored(after(time.Second)),
	}
}

func finish(t *testing.T, s Stores, a product.Artifact) error {
	t.Helper()
	_, err := s.Sessions.FinishArtifact(t.Context(), a)
	return err
}

var artifactTests = []testCase{
	{"one that is finished is listed, and replaced", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		first, second, other := artifactOf(run, "a"), artifactOf(run, "a"), artifactOf(run, "b")
		for _, a := range []product.Artifact{first, second, other} {
			require.NoError(t, s.Sessions.BeginArtifact(t.Context(), a))
		}
		replaced, err := s.Sessions.FinishArtifact(t.Context(), first)
		require.NoError(t, err)
		require.Nil(t, replaced)
		replaced, err = s.Sessions.FinishArtifact(t.Context(), second)
		require.NoError(t, err)
		requireSame(t, first, *replaced)

		list, err := s.Sessions.Artifacts(t.Context(), run.ID)
		require.NoError(t, err)
		requireSame(t, []product.Artifact{second}, list)
		all, err := s.Sessions.AllArtifacts(t.Context(), run.ID)
		require.NoError(t, err)
		require.Len(t, all, 3, "each has a body that may have to be removed")
	}},
	{"of a later attempt it is another one", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		first := artifactOf(run, "a")
		require.NoError(t, s.Sessions.BeginArtifact(t.Context(), first))
		require.NoError(t, finish(t, s, first))
		run = w.update(t, run.ID, closed["replaced"])
		second := artifactOf(run, "a")
		require.NoError(t, s.Sessions.BeginArtifact(t.Context(), second))
		require.NoError(t, finish(t, s, second))
		list, err := s.Sessions.Artifacts(t.Context(), run.ID)
		require.NoError(t, err)
		requireSame(t, []product.Artifact{second, first}, list)
	}},
	{"a run has so many, and so much", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		large := artifactOf(run, "large")
		large.Blob.Size = product.MaxArtifactBytes
		require.NoError(t, s.Sessions.BeginArtifact(t.Context(), large))
		require.NoError(t, finish(t, s, large))
		small := artifactOf(run, "small")
		require.NoError(t, s.Sessions.BeginArtifact(t.Context(), small))
		requireFault(t, finish(t, s, small), fault.TooLarge, "artifacts_too_large")
		again := artifactOf(run, "large") // in place of the large one
		require.NoError(t, s.Sessions.BeginArtifact(t.Context(), again))
		require.NoError(t, finish(t, s, again))
		for i := 3; i < product.MaxArtifacts; i++ {
			require.NoError(t, s.Sessions.BeginArtifact(t.Context(), artifactOf(run, fmt.Sprint(i))))
		}
		requireFault(t, s.Sessions.BeginArtifact(t.Context(), artifactOf(run, "more")), fault.TooLarge, "too_many_artifacts")
	}},
}
