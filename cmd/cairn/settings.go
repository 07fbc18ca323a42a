package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// applySettings gives every flag that the command line does not set the value
// of its CAIRN_ environment variable or, failing that, of the settings file.
func applySettings(cmd *cobra.Command, explicit string, at func(string) string) error {
	v := viper.New()
	v.SetEnvPrefix("CAIRN")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	file, err := settingsFile(explicit, at)
	if err != nil {
		return err
	}
	if file != "" {
		v.SetConfigFile(file)
		v.SetConfigType("yaml")
		if err := v.ReadInConfig(); err != nil {
			return usageError{fmt.Errorf("%s: %w", file, err)}
		}
		if err := knownSettings(cmd.Root(), v, file); err != nil {
			return err
		}
	}
	var problems []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "workdir" {
			return
		}
		name := settingName(f)
		if err := v.BindEnv(name); err != nil || !v.IsSet(name) {
			return
		}
		if err := setFlag(f, v, name); err != nil {
			problems = append(problems, usageError{fmt.Errorf("%s: %s: %w", settingSource(name, file), name, err)})
		}
	})
	return errors.Join(problems...)
}

// settingsFile finds the settings: the explicit one, which must exist, else
// cairn.yaml here, else the user's; empty for none. at says where a path is.
func settingsFile(explicit string, at func(string) string) (string, error) {
	if explicit == "" {
		explicit = os.Getenv(envName("settings"))
	}
	if explicit = at(explicit); explicit != "" {
		if _, err := os.Stat(explicit); err != nil {
			return "", usageError{fmt.Errorf("--settings: %w", err)}
		}
		return explicit, nil
	}
	candidates := []string{at("cairn.yaml")}
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append(candidates, filepath.Join(dir, "cairn", "cairn.yaml"))
	}
	for _, c := range candidates {
		switch _, err := os.Stat(c); {
		case err == nil:
			return c, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", usageError{fmt.Errorf("settings: %w", err)}
		}
	}
	return "", nil
}

// knownSettings refuses keys that are no flag of any command, and unsafe ones:
// a file that happens to lie in the working directory must not switch a check
// off.
func knownSettings(root *cobra.Command, v *viper.Viper, file string) error {
	known := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) { known[settingName(f)] = true })
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	keys := v.AllKeys()
	slices.Sort(keys)
	var problems []error
	for _, k := range keys {
		switch {
		case strings.HasPrefix(k, "unsafe-") || k == "ignore-signatures":
			problems = append(problems, fmt.Errorf("%s: %s: unsafe settings are taken from the command line and the environment only", file, k))
		case !known[k] || k == "settings" || k == "workdir":
			problems = append(problems, fmt.Errorf("%s: %s: no such setting\nhint: a key is the name of a flag without the dashes", file, k))
		}
	}
	if len(problems) > 0 {
		return usageError{errors.Join(problems...)}
	}
	return nil
}

// settingAnnotation names the setting of a flag whose own name means something
// else in another command.
const settingAnnotation = "cairn-setting"

// settingName is the key of a flag in the settings file.
func settingName(f *pflag.Flag) string {
	if other := f.Annotations[settingAnnotation]; len(other) > 0 {
		return other[0]
	}
	return f.Name
}

// setAs gives a flag the setting of another name.
func setAs(flags *pflag.FlagSet, flag, setting string) {
	if err := flags.SetAnnotation(flag, settingAnnotation, []string{setting}); err != nil {
		panic(err) // the caller has just made the flag
	}
}

func setFlag(f *pflag.Flag, v *viper.Viper, name string) error {
	f.Changed = true
	if list, ok := f.Value.(pflag.SliceValue); ok {
		if s, isText := v.Get(name).(string); isText {
			return list.Replace(splitList(s))
		}
		return list.Replace(v.GetStringSlice(name))
	}
	return f.Value.Set(v.GetString(name))
}

// splitList splits a comma-separated environment value as the flag would be.
func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func settingSource(flag, file string) string {
	if os.Getenv(envName(flag)) != "" || file == "" {
		return envName(flag)
	}
	return file
}
