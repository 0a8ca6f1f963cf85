// Package blobs keeps the bodies of runs (outputs, archived logs) outside the
// database, through gocloud.dev/blob: a folder in development, an
// S3-compatible store in production. The driver is chosen by the URL; cmd links
// the drivers.
package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"agentmarket/fault"
	"agentmarket/product"
)

// Store reads and writes bodies. It is safe for concurrent use.
type Store struct{ bucket *blob.Bucket }

// Open opens the bucket behind a URL: file:///var/lib/agentmarket/blobs, or
// s3://bucket?region=…&endpoint=… where the program links that driver.
func Open(ctx context.Context, url string) (*Store, error) {
	bucket, err := blob.OpenBucket(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	return &Store{bucket: bucket}, nil
}

// Close releases the bucket.
func (s *Store) Close() error { return s.bucket.Close() }

// Put stores a body under a key, replacing what was there: a repeated activity
// writes the same bytes again. The body appears whole or not at all.
func (s *Store) Put(ctx context.Context, key, contentType string, body []byte) (product.Blob, error) {
	opts := &blob.WriterOptions{ContentType: contentType}
	if err := s.bucket.Upload(ctx, key, bytes.NewReader(body), opts); err != nil {
		return product.Blob{}, fault.Wrap(fault.Unavailable, err, "store blob "+key)
	}
	sum := sha256.Sum256(body)
	return product.Blob{Key: key, Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}, nil
}

// PutStream stores what it reads under a key, at most so many bytes: more is
// fault.TooLarge. The body appears whole or not at all; an error of body is returned as
// it is.
func (s *Store) PutStream(ctx context.Context, key, contentType string, body io.Reader, most int64) (product.Blob, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close it drops what was written
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: contentType})
	if err != nil {
		return product.Blob{}, fault.Wrap(fault.Unavailable, err, "store blob "+key)
	}
	sum := sha256.New()
	source := &failingReader{r: body}
	size, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(source, most+1))
	switch {
	case source.err != nil:
		err = source.err
	case err != nil:
		err = fault.Wrap(fault.Unavailable, err, "store blob "+key)
	case size > most:
		err = fault.Newf(fault.TooLarge, "body_too_large", "the body has more than %d bytes", most)
	}
	if err != nil {
		cancel()
		_ = w.Close()
		return product.Blob{}, err
	}
	if err := w.Close(); err != nil {
		return product.Blob{}, fault.Wrap(fault.Unavailable, err, "store blob "+key)
	}
	return product.Blob{Key: key, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// failingReader remembers the error, other than the end, that r failed with.
type failingReader struct {
	r   io.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// Reader opens a body. A key that does not exist is fault.NotFound.
func (s *Store) Reader(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, s.interpret(err, key)
	}
	return r, nil
}

// Get reads a body whole and checks it against what the record says of it.
func (s *Store) Get(ctx context.Context, b product.Blob) ([]byte, error) {
	body, err := s.bucket.ReadAll(ctx, b.Key)
	if err != nil {
		return nil, s.interpret(err, b.Key)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != b.SHA256 {
		return nil, fmt.Errorf("read blob %s: content does not match its recorded hash", b.Key)
	}
	return body, nil
}

// Delete removes a body. One that is not there is removed already.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fault.Wrap(fault.Unavailable, err, "delete blob "+key)
	}
	return nil
}

// Accessible checks that the store answers, for readiness.
func (s *Store) Accessible(ctx context.Context) error {
	ok, err := s.bucket.IsAccessible(ctx)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "reach blob store")
	}
	if !ok {
		return fault.New(fault.Unavailable, "", "the blob store does not exist")
	}
	return nil
}

func (s *Store) interpret(err error, key string) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fault.New(fault.NotFound, "blob_not_found", "the body is not stored (any more)")
	}
	return fault.Wrap(fault.Unavailable, err, "read blob "+key)
}
