option(PT2Q_WERROR "Treat warnings as errors" OFF)

function(pt2q_warnings target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wconversion>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${PT2Q_WERROR}>>:-Werror>)
endfunction()
