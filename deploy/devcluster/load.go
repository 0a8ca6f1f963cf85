package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// loadArchive brings the images of an archive into the cluster and returns them
// as NAME@sha256:DIGEST. What the cluster has already is not imported again.
func loadArchive(ctx context.Context, s settings, file string) ([]string, error) {
	images, err := readArchive(file)
	if err != nil {
		return nil, err
	}
	imported := false
	var loaded []string
	for _, img := range images {
		pinned := img.name.pinned(img.digest)
		known, err := imageKnown(ctx, s.Layout, pinned)
		if err != nil {
			return nil, err
		}
		if !known && !imported {
			if err := ctr(ctx, s.Layout, "images", "import", "--local", "--snapshotter", s.Snapshotter, file); err != nil {
				return nil, fmt.Errorf("import %s: %w", file, err)
			}
			imported = true
		}
		// The tag may have been moved to another image since; and the pinned name is
		// what makes NAME@sha256:… resolve without a registry.
		from, to := img.name.tagged(), pinned
		if known {
			from, to = to, from
		}
		if err := ctr(ctx, s.Layout, "images", "tag", "--force", from, to); err != nil {
			return nil, fmt.Errorf("tag %s: %w", to, err)
		}
		if err := awaitImage(ctx, s.Layout, pinned); err != nil {
			return nil, err
		}
		loaded = append(loaded, img.name.shown(img.digest))
	}
	return loaded, nil
}

// awaitImage waits until the kubelet would find the image: containerd's CRI part
// learns of it by an event shortly after the import.
func awaitImage(ctx context.Context, l Layout, reference string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		known, err := imageKnown(ctx, l, reference)
		if err == nil && known {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for image %s: not known to the kubelet's runtime: %w", reference, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ctr runs containerd's client on the images of the kubelet (namespace k8s.io).
func ctr(ctx context.Context, l Layout, args ...string) error {
	full := append([]string{"--address", l.ContainerdSocket(), "--namespace", "k8s.io"}, args...)
	cmd := exec.CommandContext(ctx, l.Tool("ctr"), full...)
	cmd.Env = componentEnv(l)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ensurePauseImage makes and loads the image of the pods' sandboxes from the
// pause program beside this binary.
func ensurePauseImage(ctx context.Context, s settings) error {
	n, err := parseImageName(s.PauseImage)
	if err != nil {
		return err
	}
	img, done, err := buildImage(imageSpec{
		files:      []string{s.Layout.Tool("pause") + ":0755:/pause"},
		entrypoint: []string{"/pause"},
		user:       "65535:65535",
	})
	if err != nil {
		return fmt.Errorf("build pause image: %w", err)
	}
	defer done()
	if _, err := writeArchive(s.Layout.PauseImage(), n, img); err != nil {
		return fmt.Errorf("build pause image: %w", err)
	}
	if _, err := loadArchive(ctx, s, s.Layout.PauseImage()); err != nil {
		return fmt.Errorf("load pause image: %w", err)
	}
	return nil
}
