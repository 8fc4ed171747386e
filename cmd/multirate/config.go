package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	configFlag = "config"
	envPrefix  = "MULTIRATE_"
)

// configure sets each flag that the command line leaves out: from its
// environment variable, else from the file. A key of the file that is no flag is
// an error; other variables are other programs' affair.
func configure(flags *pflag.FlagSet, path string) error {
	if path == "" {
		path = os.Getenv(envPrefix + "CONFIG")
	}
	k := koanf.New("\x00") // names have no levels
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return fmt.Errorf("--config %s: %w", path, err)
		}
		for _, key := range k.Keys() {
			if flags.Lookup(key) == nil || key == configFlag {
				return fmt.Errorf("--config %s: there is no option %q", path, key)
			}
		}
	}
	err := k.Load(env.Provider("\x00", env.Opt{Prefix: envPrefix, TransformFunc: func(name, value string) (string, any) {
		name = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
		return name, value
	}}), nil)
	if err != nil {
		return err
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == configFlag || !k.Exists(f.Name) || failed != nil {
			return
		}
		for _, value := range valuesOf(k, f) {
			if err := flags.Set(f.Name, value); err != nil {
				failed = fmt.Errorf("option %s, from the environment or --config: %w", f.Name, err)
			}
		}
	})
	return failed
}

// valuesOf are the values of an option: several for one that may be repeated,
// divided by commas in a variable.
func valuesOf(k *koanf.Koanf, f *pflag.Flag) []string {
	if _, several := f.Value.(pflag.SliceValue); !several {
		return []string{k.String(f.Name)}
	}
	if text, ok := k.Get(f.Name).(string); ok {
		return strings.Split(text, ",")
	}
	return k.Strings(f.Name)
}
