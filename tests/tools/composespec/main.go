// Command composespec loads Compose files as docker compose does, and prints the project as JSON: judged by the
// specification's schema, interpolated, defaults filled in, references checked.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithOsEnv, cli.WithInterpolation(true))
	if err != nil {
		fail(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		fail(err)
	}
	found, err := project.MarshalJSON()
	if err != nil {
		fail(err)
	}
	fmt.Println(string(found))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
