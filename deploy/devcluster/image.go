package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageSpec is what goes into an image of one layer. The same spec and files
// give the same digest: times are zero, owners are root, and the order in the
// layer is the order of the paths.
type imageSpec struct {
	name       string   // NAME[:TAG]
	files      []string // HOST[:MODE]:PATH, a file or a folder of the host
	symlinks   []string // TARGET:PATH
	dirs       []string // PATH[:MODE]
	entrypoint []string
	env        []string
	user       string
	workdir    string
}

// entry is one path of a layer.
type entry struct {
	path   string // in the image, without a leading slash
	kind   byte   // tar.TypeReg, TypeDir or TypeSymlink
	mode   int64
	source string // file on the host
	target string // of a symbolic link
}

// entries resolves the spec to sorted paths; a path given twice is an error.
func (s imageSpec) entries() ([]entry, error) {
	var all []entry
	for _, arg := range s.files {
		found, err := fileEntries(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	for _, arg := range s.symlinks {
		target, at, ok := strings.Cut(arg, ":")
		if !ok || target == "" || at == "" {
			return nil, fmt.Errorf("parse symlink %q: want TARGET:PATH", arg)
		}
		all = append(all, entry{path: imagePath(at), kind: tar.TypeSymlink, mode: 0o777, target: target})
	}
	for _, arg := range s.dirs {
		at, modeText, ok := strings.Cut(arg, ":")
		mode := int64(0o755)
		if ok {
			var err error
			if mode, err = parseMode(modeText); err != nil {
				return nil, fmt.Errorf("parse folder %q: %w", arg, err)
			}
		}
		all = append(all, entry{path: imagePath(at), kind: tar.TypeDir, mode: mode})
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(all); i++ {
		if all[i].path == all[i-1].path {
			return nil, fmt.Errorf("collect image files: /%s is given twice", all[i].path)
		}
	}
	return all, nil
}

// fileEntries parses HOST[:MODE]:PATH. A folder is taken with all it contains.
func fileEntries(arg string) ([]entry, error) {
	parts := strings.Split(arg, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[len(parts)-1] == "" {
		return nil, fmt.Errorf("parse file %q: want HOST[:MODE]:PATH", arg)
	}
	mode := int64(-1)
	if len(parts) == 3 {
		var err error
		if mode, err = parseMode(parts[1]); err != nil {
			return nil, fmt.Errorf("parse file %q: %w", arg, err)
		}
	}
	root, at := parts[0], parts[len(parts)-1]
	var found []entry
	err := filepath.WalkDir(root, func(source string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, source)
		if err != nil {
			return err
		}
		e, err := hostEntry(source, imagePath(path.Join(at, filepath.ToSlash(rel))), mode, source == root)
		if err != nil {
			return err
		}
		found = append(found, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("collect image files: %w", err)
	}
	return found, nil
}

// hostEntry takes the kind of a file and whether it is executable from the host,
// and nothing else: umasks and owners differ between machines.
func hostEntry(source, at string, mode int64, follow bool) (entry, error) {
	stat := os.Lstat
	if follow {
		stat = os.Stat
	}
	info, err := stat(source)
	if err != nil {
		return entry{}, err
	}
	e := entry{path: at, kind: tar.TypeReg, mode: 0o644, source: source}
	switch {
	case info.IsDir():
		return entry{path: at, kind: tar.TypeDir, mode: 0o755}, nil
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(source)
		return entry{path: at, kind: tar.TypeSymlink, mode: 0o777, target: target}, err
	case !info.Mode().IsRegular():
		return entry{}, fmt.Errorf("%s is no regular file", source)
	case mode >= 0:
		e.mode = mode
	case info.Mode()&0o100 != 0:
		e.mode = 0o755
	}
	return e, nil
}

func imagePath(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

func parseMode(text string) (int64, error) {
	mode, err := strconv.ParseInt(text, 8, 64)
	if err != nil || mode < 0 || mode > 0o7777 {
		return 0, fmt.Errorf("mode %q is not octal from 0 to 7777", text)
	}
	return mode, nil
}

// writeLayer writes the layer's tar file.
func writeLayer(w io.Writer, entries []entry) error {
	tw := tar.NewWriter(w)
	for _, e := range entries {
		header := &tar.Header{Name: e.path, Typeflag: e.kind, Mode: e.mode, Linkname: e.target, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if e.kind == tar.TypeDir {
			header.Name += "/"
		}
		if err := writeEntry(tw, header, e.source); err != nil {
			return fmt.Errorf("write /%s to layer: %w", e.path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("close layer: %w", err)
	}
	return nil
}

func writeEntry(tw *tar.Writer, header *tar.Header, source string) error {
	if source == "" {
		return tw.WriteHeader(header)
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// buildImage makes the image; the layer is kept in a temporary file until done
// is called.
func buildImage(s imageSpec) (img v1.Image, done func(), err error) {
	entries, err := s.entries()
	if err != nil {
		return nil, nil, err
	}
	f, err := os.CreateTemp("", "devcluster-layer-*.tar")
	if err != nil {
		return nil, nil, fmt.Errorf("create layer: %w", err)
	}
	done = func() { _ = os.Remove(f.Name()) }
	if err := errors.Join(writeLayer(f, entries), f.Close()); err != nil {
		done()
		return nil, nil, err
	}
	img, err = assembleImage(s, f.Name())
	if err != nil {
		done()
		return nil, nil, err
	}
	return img, done, nil
}

func assembleImage(s imageSpec, layerFile string) (v1.Image, error) {
	layer, err := newPlainLayer(layerFile)
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("add layer: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config.Entrypoint = s.entrypoint
	config.Config.Env = s.env
	config.Config.User = s.user
	config.Config.WorkingDir = s.workdir
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, fmt.Errorf("set image configuration: %w", err)
	}
	return img, nil
}
