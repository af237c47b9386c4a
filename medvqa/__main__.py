"""`python -m medvqa`: the same as the command `medvqa`."""

from medvqa.cli import main

if __name__ == "__main__":
    main()
