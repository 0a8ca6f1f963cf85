package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func writeHostFile(t *testing.T, dir, name string, mode os.FileMode, modified time.Time) string {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("content of "+name), mode))
	require.NoError(t, os.Chtimes(file, modified, modified))
	return file
}

func TestImageIsReproducible(t *testing.T) {
	build := func(mode os.FileMode, modified time.Time) (digest, archive string) {
		dir := t.TempDir()
		program := writeHostFile(t, dir, "bin/program", mode, modified)
		n, err := parseImageName("agents/hello:1")
		require.NoError(t, err)
		img, done, err := buildImage(imageSpec{
			files:      []string{program + ":/program", filepath.Join(dir, "bin") + ":/copy"},
			symlinks:   []string{"program:/link"},
			dirs:       []string{"/tmp:1777"},
			entrypoint: []string{"/program", "serve"},
			env:        []string{"A=b"},
		})
		require.NoError(t, err)
		defer done()
		var buf bytes.Buffer
		h, err := writeArchiveTo(&buf, n, img)
		require.NoError(t, err)
		return h.String(), buf.String()
	}
	d1, a1 := build(0o755, time.Unix(1, 0))
	d2, a2 := build(0o700, time.Now())
	require.Equal(t, d1, d2)
	require.Equal(t, a1, a2, "the whole archive, too")
	require.Equal(t, "sha256:", d1[:7])
}

func TestLayer(t *testing.T) {
	dir := t.TempDir()
	program := writeHostFile(t, dir, "program", 0o700, time.Now())
	config := writeHostFile(t, dir, "config", 0o600, time.Now())
	entries, err := imageSpec{
		files:    []string{program + ":/usr/bin/program", config + ":0440:/etc/config"},
		symlinks: []string{"/usr/bin/program:/run"},
		dirs:     []string{"/tmp:1777", "/empty"},
	}.entries()
	require.NoError(t, err)
	var buf bytes.Buffer
	require.NoError(t, writeLayer(&buf, entries))

	type header struct {
		Name, Link string
		Mode       int64
	}
	var got []header
	tr := tar.NewReader(&buf)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Zero(t, h.ModTime.Unix())
		require.Zero(t, h.Uid+h.Gid)
		got = append(got, header{Name: h.Name, Link: h.Linkname, Mode: h.Mode})
	}
	require.Empty(t, cmp.Diff([]header{
		{Name: "empty/", Mode: 0o755},
		{Name: "etc/config", Mode: 0o440},
		{Name: "run", Link: "/usr/bin/program", Mode: 0o777},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "usr/bin/program", Mode: 0o755},
	}, got))
}

func TestImageSpecErrors(t *testing.T) {
	file := writeHostFile(t, t.TempDir(), "file", 0o644, time.Now())
	for name, spec := range map[string]imageSpec{
		"want HOST[:MODE]:PATH":        {files: []string{file}},
		"is not octal":                 {files: []string{file + ":0999:/a"}},
		"no such file":                 {files: []string{file + "x:/a"}},
		"want TARGET:PATH":             {symlinks: []string{"target"}},
		"/a is given twice":            {files: []string{file + ":/a", file + ":/b/../a"}},
		"parse folder \"/tmp:sticky\"": {dirs: []string{"/tmp:sticky"}},
	} {
		_, err := spec.entries()
		require.ErrorContains(t, err, name)
	}
}

func TestArchiveIsReadBack(t *testing.T) {
	dir := t.TempDir()
	n, err := parseImageName("hello")
	require.NoError(t, err)
	img, done, err := buildImage(imageSpec{files: []string{writeHostFile(t, dir, "file", 0o644, time.Now()) + ":/file"}})
	require.NoError(t, err)
	defer done()
	file := filepath.Join(dir, "image.tar")
	digest, err := writeArchive(file, n, img)
	require.NoError(t, err)

	images, err := readArchive(file)
	require.NoError(t, err)
	require.Len(t, images, 1)
	require.Equal(t, digest, images[0].digest)
	require.Equal(t, "docker.io/library/hello:dev", images[0].name.tagged())
	require.Equal(t, "docker.io/library/hello@"+digest.String(), images[0].name.pinned(digest))
	require.Equal(t, "hello@"+digest.String(), n.shown(digest))

	_, err = readArchive(writeHostFile(t, dir, "no-archive", 0o644, time.Now()))
	require.Error(t, err)
}

func TestParseImageName(t *testing.T) {
	n, err := parseImageName("registry.example:5000/team/agent:v1")
	require.NoError(t, err)
	require.Equal(t, imageName{given: "registry.example:5000/team/agent", full: "registry.example:5000/team/agent", tag: "v1"}, n)
	for _, bad := range []string{"", "UPPER", "a@sha256:0000000000000000000000000000000000000000000000000000000000000000"} {
		_, err := parseImageName(bad)
		require.Error(t, err, bad)
	}
}
