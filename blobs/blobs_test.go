package blobs_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	_ "gocloud.dev/blob/fileblob"

	"agentmarket/blobs"
	"agentmarket/fault"
	"agentmarket/product"
)

func open(t *testing.T) *blobs.Store {
	t.Helper()
	store, err := blobs.Open(t.Context(), "file://"+t.TempDir()+"?no_tmp_dir=true")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func TestPutThenGetAndRepeat(t *testing.T) {
	store := open(t)
	first, err := store.Put(t.Context(), "runs/run_1/output.json", "application/json", []byte(`{"a":1}`))
	require.NoError(t, err)
	again, err := store.Put(t.Context(), "runs/run_1/output.json", "application/json", []byte(`{"a":1}`))
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.EqualValues(t, 7, first.Size)

	body, err := store.Get(t.Context(), first)
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1}`, string(body))

	r, err := store.Reader(t.Context(), first.Key)
	require.NoError(t, err)
	defer r.Close()
	streamed, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, body, streamed)
}

func TestGetNoticesAChangedBody(t *testing.T) {
	store := open(t)
	b, err := store.Put(t.Context(), "k", "text/plain", []byte("one"))
	require.NoError(t, err)
	_, err = store.Put(t.Context(), "k", "text/plain", []byte("two"))
	require.NoError(t, err)
	_, err = store.Get(t.Context(), b)
	require.ErrorContains(t, err, "hash")
}

func TestMissingBodyIsNotFound(t *testing.T) {
	store := open(t)
	_, err := store.Get(t.Context(), product.Blob{Key: "nothing"})
	require.True(t, fault.Is(err, fault.NotFound))
	_, err = store.Reader(t.Context(), "nothing")
	require.True(t, fault.Is(err, fault.NotFound))
	require.NoError(t, store.Accessible(t.Context()))
}

func TestDeleteAndRepeat(t *testing.T) {
	store := open(t)
	b, err := store.Put(t.Context(), "runs/run_1/output.json", "application/json", []byte(`{}`))
	require.NoError(t, err)
	kept, err := store.Put(t.Context(), "runs/run_1/attempts/1/log.txt", "text/plain", []byte("hello"))
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, store.Delete(t.Context(), b.Key))
	}
	_, err = store.Get(t.Context(), b)
	require.True(t, fault.Is(err, fault.NotFound))
	_, err = store.Get(t.Context(), kept)
	require.NoError(t, err)
}
