package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/repository"
)

func newIndex(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Make, merge, sign and show repository indexes",
		Long:  `Make, merge, sign and show APKINDEX.tar.gz, the signed list of the packages of a repository.`,
	}
	cmd.AddCommand(newIndexCreate(a), newIndexMerge(a), newIndexSign(a), newIndexShow(a))
	return cmd
}

// indexOutput are the flags of commands that write an index.
type indexOutput struct {
	output, description string
	keys                signingKeys
}

func (o *indexOutput) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.output, "output", "o", "APKINDEX.tar.gz", "index `file` to write")
	cmd.Flags().StringVar(&o.description, "description", "", "`text` that the index says of its repository")
	o.keys.register(cmd)
}

// update writes the index under a lock that all writers take.
func (o *indexOutput) update(ctx context.Context, a *app, change func([]*apk.Package) ([]*apk.Package, error)) error {
	keys, err := o.keys.load(a)
	if err != nil {
		return err
	}
	count := 0
	err = repository.UpdateIndex(ctx, a.at(o.output), repository.WriteOptions{Description: o.description, Keys: keys}, func(have []*apk.Package) ([]*apk.Package, error) {
		list, err := change(have)
		count = len(list)
		return list, err
	})
	if err != nil {
		return err
	}
	r := struct {
		Path     string `json:"path"`
		Packages int    `json:"packages"`
	}{o.output, count}
	return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %d packages\n", r.Path, r.Packages)
		return err
	})
}

func newIndexCreate(a *app) *cobra.Command {
	var o indexOutput
	var arch, merge string
	cmd := &cobra.Command{
		Use:   "create APK...",
		Short: "Make an index of package files",
		Long: `Make an index of package files. The data section of every package is hashed, so
that no damaged package gets in. All packages must be for one architecture.

With --merge, the packages of an index that is there stay, and given ones take
the place of those with the same name and version. When that index is the output
itself, any number of processes may do so at the same time without losing one
another's entries.`,
		Example: "  cairn index create -o packages/x86_64/APKINDEX.tar.gz packages/x86_64/*.apk --signing-key me.rsa",
		Args:    args(1, -1, "package files"),
		RunE: func(cmd *cobra.Command, files []string) error {
			for i := range files {
				files[i] = a.at(files[i])
			}
			added, err := pack.Entries(cmd.Context(), files, arch)
			if err != nil {
				return err
			}
			return o.update(cmd.Context(), a, func(have []*apk.Package) ([]*apk.Package, error) {
				switch merge {
				case "":
					have = nil
				case o.output:
				default:
					if have, err = readIndex(a.at(merge)); err != nil {
						return nil, err
					}
				}
				return pack.Replace(have, added), nil
			})
		},
	}
	o.register(cmd)
	cmd.Flags().StringVar(&arch, "arch", "", "the `architecture` that all packages must have (default: that of the first)")
	cmd.Flags().StringVar(&merge, "merge", "", "keep the packages of this `index`")
	return cmd
}

func newIndexMerge(a *app) *cobra.Command {
	var o indexOutput
	cmd := &cobra.Command{
		Use:     "merge INDEX...",
		Short:   "Join indexes",
		Long:    `Join indexes into one. Two different packages of one name and version are an error, because a repository can hold only one of them.`,
		Example: "  cairn index merge a/APKINDEX.tar.gz b/APKINDEX.tar.gz -o APKINDEX.tar.gz",
		Args:    args(1, -1, "index files"),
		RunE: func(cmd *cobra.Command, files []string) error {
			var lists [][]*apk.Package
			for _, name := range files {
				list, err := readIndex(a.at(name))
				if err != nil {
					return err
				}
				lists = append(lists, list)
			}
			return o.update(cmd.Context(), a, func([]*apk.Package) ([]*apk.Package, error) { return pack.Join(lists...) })
		},
	}
	o.register(cmd)
	return cmd
}

func newIndexSign(a *app) *cobra.Command {
	var keys signingKeys
	cmd := &cobra.Command{
		Use:     "sign INDEX...",
		Short:   "Sign indexes",
		Long:    `Sign indexes in place. Signatures that are there are replaced; the rest stays byte for byte.`,
		Example: "  cairn index sign APKINDEX.tar.gz --signing-key me.rsa",
		Args:    args(1, -1, "index files"),
		RunE: func(_ *cobra.Command, files []string) error {
			if len(keys.files) == 0 {
				return usageError{errors.New("--signing-key: missing")}
			}
			private, err := keys.load(a)
			if err != nil {
				return err
			}
			for _, name := range files {
				b, err := os.ReadFile(a.at(name))
				if err != nil {
					return err
				}
				if _, err := repository.ReadIndex(bytes.NewReader(b), repository.ReadOptions{UnsafeUnsigned: true}); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				var out bytes.Buffer
				if err := repository.SignIndex(&out, b, private); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if err := writeFileAtomic(a.at(name), out.Bytes(), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
	keys.register(cmd)
	return cmd
}

// indexRow is one package of an index.
type indexRow struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Arch     string   `json:"arch"`
	Size     int64    `json:"size"`
	Checksum string   `json:"checksum"`
	Depends  []string `json:"depends,omitempty"`
	Provides []string `json:"provides,omitempty"`
}

func newIndexShow(a *app) *cobra.Command {
	var keys packageKeys
	cmd := &cobra.Command{
		Use:     "show INDEX",
		Short:   "Show the packages of an index",
		Long:    `Show the packages of an index. With --keyring, the index must be signed by one of the keys (exit code 5).`,
		Example: "  cairn index show APKINDEX.tar.gz --keyring me.rsa.pub",
		Args:    args(1, 1, "an index file"),
		RunE: func(_ *cobra.Command, files []string) error {
			ring, err := keys.keyring(a)
			if err != nil {
				return err
			}
			f, err := os.Open(a.at(files[0]))
			if err != nil {
				return err
			}
			defer f.Close()
			ix, err := repository.ReadIndex(f, repository.ReadOptions{Keyring: ring, UnsafeUnsigned: ring == nil})
			if err != nil {
				return fmt.Errorf("%s: %w", files[0], err)
			}
			r := struct {
				Description string     `json:"description,omitempty"`
				SignedBy    string     `json:"signedBy,omitempty"`
				Packages    []indexRow `json:"packages"`
			}{ix.Description, ix.SignedBy.Name, []indexRow{}}
			for i := range ix.Len() {
				r.Packages = append(r.Packages, indexRowOf(ix.Package(i)))
			}
			return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
				for _, p := range r.Packages {
					if _, err := fmt.Fprintf(w, "%s-%s\t%s\t%s\n", p.Name, p.Version, p.Arch, bytesText(p.Size)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	keys.register(cmd)
	return cmd
}

func indexRowOf(p *apk.Package) indexRow {
	r := indexRow{Name: p.Name, Version: p.Version, Arch: p.Arch, Size: p.Size, Checksum: p.Checksum.String()}
	for _, d := range p.Depends {
		r.Depends = append(r.Depends, d.String())
	}
	for _, d := range p.Provides {
		r.Provides = append(r.Provides, d.String())
	}
	return r
}

func readIndex(name string) ([]*apk.Package, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ix, err := repository.ReadIndex(f, repository.ReadOptions{UnsafeUnsigned: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := make([]*apk.Package, ix.Len())
	for i := range out {
		out[i] = ix.Package(i)
	}
	return out, nil
}
