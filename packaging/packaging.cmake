# What `cmake --install` puts where, and the Debian packages that cpack makes of it, one component
# each: cloud, edge, model, models, lib, dev. Man pages and completions are made from what the built
# programs say of themselves.
include(GNUInstallDirs)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON) # cpack packs what was built; it needs no tests
set(packaging ${PROJECT_SOURCE_DIR}/packaging)
set(made ${PROJECT_BINARY_DIR}/packaging)
set(statedir ${CMAKE_INSTALL_FULL_LOCALSTATEDIR}/lib)
set(summary_cloud "learns from what devices upload, publishes weight deltas")
set(summary_edge "answers questions about images, and keeps learning")
set(summary_model "looks into, converts, measures and trains multimodal models")
set(summary_models "built-in teacher and student of CD-CCA")
set(summary_lib "CD-CCA's agent as a C library")
set(summary_dev "CD-CCA's agent as a C library: header, example")

# ---- the programs, their pages and completions ----

# made_by(OUTPUT SCRIPT PROGRAM ARGUMENT...): a file that a script here prints
function(made_by output script program)
    add_custom_command(OUTPUT ${made}/${output}
        COMMAND bash ${packaging}/${script} $<TARGET_FILE:${program}> ${ARGN} > ${made}/${output}
        DEPENDS ${program} ${packaging}/${script} ${packaging}/help.sh VERBATIM)
endfunction()

# zipped(OUTPUT FILE): gzip -9n, as Debian's policy asks
function(zipped output file)
    add_custom_command(OUTPUT ${made}/${output} COMMAND gzip -9nc ${file} > ${made}/${output}
        DEPENDS ${file} VERBATIM)
endfunction()

zipped(changelog.gz ${packaging}/debian/changelog)
add_custom_target(changelog ALL DEPENDS ${made}/changelog.gz)
set(pages)
foreach(component cloud edge model)
    set(name cdcca-${component})
    set(template ${packaging}/man/${name}.1.in)
    made_by(${name}.1 man.sh ${name} ${template} ${PROJECT_VERSION}
        ${CMAKE_INSTALL_FULL_SYSCONFDIR} ${CMAKE_INSTALL_FULL_DATADIR} ${statedir})
    add_custom_command(OUTPUT ${made}/${name}.1 DEPENDS ${template} APPEND)
    zipped(${name}.1.gz ${made}/${name}.1)
    made_by(${name} completion.sh ${name})
    list(APPEND pages ${made}/${name}.1.gz ${made}/${name})
    install(TARGETS ${name} COMPONENT ${component})
    install(FILES ${made}/${name}.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
        COMPONENT ${component})
    install(FILES ${made}/${name} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        COMPONENT ${component})
endforeach()
if(CDCCA_SANITIZE OR CDCCA_TSAN)
    add_custom_target(pages DEPENDS ${pages}) # nobody installs these builds
else()
    add_custom_target(pages ALL DEPENDS ${pages})
endif()

# ---- the agent as a library: client/cdcca.h ----

add_library(edge SHARED client/cdcca.c)
target_link_libraries(edge PRIVATE client)
target_link_options(edge PRIVATE -Wl,--version-script=${packaging}/cdcca-edge.map)
set_target_properties(edge PROPERTIES OUTPUT_NAME cdcca-edge VERSION ${PROJECT_VERSION} SOVERSION 0
    LINK_DEPENDS ${packaging}/cdcca-edge.map)
set_source_files_properties(client/infer.c PROPERTIES
    COMPILE_DEFINITIONS CDCCA_DATADIR="${CMAKE_INSTALL_FULL_DATADIR}/cdcca")
configure_file(${packaging}/cdcca-edge.pc.in ${made}/cdcca-edge.pc @ONLY)
install(TARGETS edge LIBRARY COMPONENT lib NAMELINK_COMPONENT dev)
install(FILES client/cdcca.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cdcca COMPONENT dev)
install(FILES ${made}/cdcca-edge.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
install(FILES examples/ask.c DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libcdcca-edge-dev/examples
    COMPONENT dev)

foreach(model teacher student)
    install(DIRECTORY models/${model} DESTINATION ${CMAKE_INSTALL_DATADIR}/cdcca/models
        COMPONENT models)
endforeach()

# ---- the services ----

file(READ ${packaging}/systemd/hardening hardening)
string(STRIP "${hardening}" hardening)
foreach(component cloud edge)
    set(package cdcca-${component})
    configure_file(${packaging}/systemd/${package}.service.in ${made}/${package}.service @ONLY)
    configure_file(${packaging}/config/${component}.json.in ${made}/${component}.json @ONLY)
    install(FILES ${made}/${package}.service DESTINATION lib/systemd/system COMPONENT ${component})
    install(FILES ${made}/${component}.json DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/cdcca
        COMPONENT ${component})
    set(scripts)
    foreach(script postinst prerm postrm)
        configure_file(${packaging}/debian/${script}.in ${made}/debian-${component}/${script} @ONLY
            FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
            WORLD_READ WORLD_EXECUTE)
        list(APPEND scripts ${made}/debian-${component}/${script})
    endforeach()
    file(WRITE ${made}/debian-${component}/conffiles
        "${CMAKE_INSTALL_FULL_SYSCONFDIR}/cdcca/${component}.json\n")
    string(TOUPPER ${component} upper)
    set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
        ${scripts} ${made}/debian-${component}/conffiles)
endforeach()
install(DIRECTORY DESTINATION /var/spool/cdcca-edge COMPONENT edge)

# ---- the packages ----

set(components cloud edge model models lib dev)
foreach(component cloud edge model models)
    set(package_${component} cdcca-${component})
endforeach()
set(package_lib libcdcca-edge0)
set(package_dev libcdcca-edge-dev)
set(blas "libopenblas0-pthread | libopenblas0") # loaded at run time (model/tensor/blas.c)
set(models "cdcca-models (= ${PROJECT_VERSION})")
foreach(component ${components})
    string(TOUPPER ${component} upper)
    set(package ${package_${component}})
    install(FILES ${packaging}/debian/copyright ${made}/changelog.gz
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component})
    set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package})
    set(CPACK_COMPONENT_${upper}_DESCRIPTION "${summary_${component}}
A small multimodal LLM on a device keeps learning after it was deployed: what
it is unsure about goes up as a few quantized visual tokens, a teacher in the
cloud trains its twin, and a few kilobytes of weights come back down.")
endforeach()
set(CPACK_DEBIAN_CLOUD_PACKAGE_DEPENDS "${blas}, ${models}, libjs-chart.js") # the dashboard's charts
set(CPACK_DEBIAN_EDGE_PACKAGE_DEPENDS "${blas}, ${models}")
set(CPACK_DEBIAN_MODEL_PACKAGE_DEPENDS "${blas}")
set(CPACK_DEBIAN_MODEL_PACKAGE_RECOMMENDS "${models}")
set(CPACK_DEBIAN_LIB_PACKAGE_DEPENDS "${blas}")
set(CPACK_DEBIAN_LIB_PACKAGE_RECOMMENDS "${models}")
set(CPACK_DEBIAN_LIB_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
file(WRITE ${made}/debian-lib/triggers "activate-noawait ldconfig\n")
install(FILES ${packaging}/debian/${package_lib}.lintian-overrides COMPONENT lib
    DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME ${package_lib})
set(CPACK_DEBIAN_LIB_PACKAGE_CONTROL_EXTRA ${made}/debian-lib/triggers)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libcdcca-edge0 (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_MODELS_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_MODELS_PACKAGE_SHLIBDEPS OFF)

set(CDCCA_MAINTAINER "The CD-CCA authors <authors@cdcca.invalid>" CACHE STRING "of the packages")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME cdcca)
set(CPACK_PACKAGE_CONTACT "${CDCCA_MAINTAINER}")
set(CPACK_COMPONENTS_ALL ${components})
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_OUTPUT_FILE_PREFIX ${PROJECT_BINARY_DIR}/packages)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SECTION misc)
include(CPack)
