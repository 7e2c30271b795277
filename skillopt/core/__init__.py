"""What every room uses: values, skills, files, import paths, errors."""
