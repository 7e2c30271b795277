"""The training methods other than SkillOpt's own loop, one a file, each behind the same seam
(:mod:`skillopt.training.sealed`)."""
