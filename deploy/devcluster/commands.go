package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// defaultState is in the checkout, where the Makefile calls the command.
const defaultState = ".dev/cluster"

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "devcluster",
		Short:         "A single-node Kubernetes cluster for development, without Docker or a registry",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	state := root.PersistentFlags().String("state", defaultState, "folder of the cluster's state")
	with := func(do func(*cobra.Command, Layout, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			l, err := newLayout(*state)
			if err != nil {
				return err
			}
			return do(cmd, l, args)
		}
	}
	root.AddCommand(
		upCommand(with), downCommand(with), statusCommand(with), kubeconfigCommand(with),
		loadCommand(with), imageCommand(), stopComponentCommand(with), startComponentCommand(with),
		&cobra.Command{
			Use: "supervise", Hidden: true, Args: cobra.NoArgs,
			RunE: with(func(_ *cobra.Command, l Layout, _ []string) error { return supervise(l) }),
		},
		&cobra.Command{
			Use: "etcd", Hidden: true, Args: cobra.NoArgs,
			RunE: with(func(_ *cobra.Command, l Layout, _ []string) error {
				c, err := requireCluster(l)
				if err != nil {
					return err
				}
				return runEtcd(settings{Layout: l, Cluster: c})
			}),
		},
		// Listed for the help only; dispatch takes it before.
		&cobra.Command{Use: "kubectl", Short: "Run kubectl", DisableFlagParsing: true, Run: func(*cobra.Command, []string) {}},
	)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

type withLayout func(func(*cobra.Command, Layout, []string) error) func(*cobra.Command, []string) error

func upCommand(with withLayout) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use: "up", Short: "Start the cluster, or wait for the running one", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, l Layout, _ []string) error {
			return up(cmd.Context(), l, o, newProgress(cmd.ErrOrStderr()))
		}),
	}
	cmd.Flags().StringVar(&o.name, "name", "", "name of the cluster and its node (default \""+defaultName+"\")")
	cmd.Flags().BoolVar(&o.defaultRates, "default-rates", false, "controllers make as few requests as Kubernetes lets them by default")
	cmd.Flags().IntVar(&o.gatewayPort, "gateway-port", 0, fmt.Sprintf("the port of the node that pods reach (default %d, or the one before)", defaultGateway))
	cmd.Flags().IntVar(&o.gatewayPorts, "gateway-ports", 0, "how many ports from it on pods reach (default 1, or as many as before)")
	return cmd
}

func downCommand(with withLayout) *cobra.Command {
	var purge bool
	cmd := &cobra.Command{
		Use: "down", Short: "Stop the cluster and remove what it added to the machine", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, l Layout, _ []string) error {
			return down(cmd.Context(), l, purge, newProgress(cmd.ErrOrStderr()))
		}),
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "remove the state, too: images, objects, certificates")
	return cmd
}

func statusCommand(with withLayout) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Tell what runs; exits with 1 unless everything is ready", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, l Layout, _ []string) error {
			s, err := observeStatus(cmd.Context(), l)
			if err != nil {
				return err
			}
			if err := printStatus(cmd.OutOrStdout(), s, asJSON); err != nil {
				return err
			}
			if !s.Ready {
				return errNotReady
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func kubeconfigCommand(with withLayout) *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig", Short: "Print the path of the admin's kubeconfig", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, l Layout, _ []string) error {
			if _, err := requireCluster(l); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), l.Kubeconfig())
			return nil
		}),
	}
}

func loadCommand(with withLayout) *cobra.Command {
	return &cobra.Command{
		Use: "load IMAGE.tar...", Short: "Load images and print NAME@sha256:DIGEST of each", Args: cobra.MinimumNArgs(1),
		RunE: with(func(cmd *cobra.Command, l Layout, files []string) error {
			c, err := requireCluster(l)
			if err != nil {
				return err
			}
			if _, err := newControl(l).status(cmd.Context()); err != nil {
				return fmt.Errorf("load images: the cluster is not running, start it with 'devcluster up': %w", err)
			}
			s, err := findSettings(l, c)
			if err != nil {
				return err
			}
			for _, file := range files {
				loaded, err := loadArchive(cmd.Context(), s, file)
				if err != nil {
					return err
				}
				for _, name := range loaded {
					fmt.Fprintln(cmd.OutOrStdout(), name)
				}
			}
			return nil
		}),
	}
}

func imageCommand() *cobra.Command {
	var (
		s    imageSpec
		out  string
		push bool
	)
	cmd := &cobra.Command{
		Use: "image --name NAME[:TAG] --out X.tar", Short: "Build an image of one layer and print NAME@sha256:DIGEST", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := parseImageName(s.name)
			if err != nil {
				return err
			}
			img, done, err := buildImage(s)
			if err != nil {
				return err
			}
			defer done()
			digest, err := writeArchive(out, n, img)
			if err != nil {
				return err
			}
			if push {
				if err := pushImage(cmd.Context(), n, img); err != nil {
					return err
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), n.shown(digest))
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&push, "push", false, "also push it to the registry of its name")
	flags.StringVar(&s.name, "name", "", "name of the image; the tag is \""+defaultTag+"\" where none is given")
	flags.StringVar(&out, "out", "", "file to write")
	flags.StringArrayVar(&s.files, "file", nil, "HOST[:MODE]:PATH, a file or folder to put at PATH; may be repeated")
	flags.StringArrayVar(&s.symlinks, "symlink", nil, "TARGET:PATH, a symbolic link at PATH; may be repeated")
	flags.StringArrayVar(&s.dirs, "dir", nil, "PATH[:MODE], a folder; may be repeated")
	flags.StringArrayVar(&s.entrypoint, "entrypoint", nil, "one argument of the entrypoint; may be repeated")
	flags.StringArrayVar(&s.env, "env", nil, "KEY=VALUE; may be repeated")
	flags.StringVar(&s.user, "user", "", "UID[:GID] that the image runs as")
	flags.StringVar(&s.workdir, "workdir", "", "working folder")
	for _, name := range []string{"name", "out"} {
		cobra.CheckErr(cmd.MarkFlagRequired(name))
	}
	return cmd
}

func stopComponentCommand(with withLayout) *cobra.Command {
	var hold time.Duration
	cmd := &cobra.Command{
		Use: "stop-component NAME", Short: "Kill a component and start it again after a while", Args: cobra.ExactArgs(1),
		RunE: with(func(cmd *cobra.Command, l Layout, args []string) error {
			return newControl(l).hold(cmd.Context(), args[0], hold)
		}),
	}
	cmd.Flags().DurationVar(&hold, "for", 0, "how long it stays down")
	return cmd
}

func startComponentCommand(with withLayout) *cobra.Command {
	return &cobra.Command{
		Use: "start-component NAME", Short: "Start a component before the time of its stop-component is over", Args: cobra.ExactArgs(1),
		RunE: with(func(cmd *cobra.Command, l Layout, args []string) error {
			return newControl(l).release(cmd.Context(), args[0])
		}),
	}
}
